//! The system calls that seccomp(2) refuses.
//!
//! A list of what is refused and not of what is allowed: an application and its
//! libraries may need any other, also one that a later kernel has. Most are decided by
//! their number alone: the kernel runs no filter for one that is always allowed. On the
//! way of a request only sending is looked at, and only if ports are limited.

use crate::permissions::{Extent, Permissions};
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter, apply_filter_all_threads,
};
use std::collections::BTreeMap;

/// Refused with EPERM, as a user who may not do it would get.
const REFUSED: &[i64] = &[
    // To read, write or steal from another process.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // File systems and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    // The kernel itself, and the machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    // Large and seldom used parts of the kernel, in which most of its faults were found.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_personality,
];

/// Namespaces that clone(2) would make. In one of its own a process without rights has
/// all of them.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Transports that Landlock does not take for TCP, by their number in socket(2): a
/// connection over one of them would pass beside the named ports.
const OTHER_TRANSPORTS: [libc::c_int; 2] = [libc::IPPROTO_MPTCP, libc::IPPROTO_SCTP];

/// Calls that may connect while they send (tcp(7), TCP Fast Open), which Landlock did not
/// see for long, and the place of their flags.
const SENDS: [(i64, u8); 3] = [
    (libc::SYS_sendto, 3),
    (libc::SYS_sendmsg, 2),
    (libc::SYS_sendmmsg, 3),
];

/// The second interface of the kernel to 64-bit programs has this bit in the number of
/// each call, and some numbers of its own.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;
#[cfg(target_arch = "x86_64")]
const X32_OWN: [i64; 4] = [
    X32 + 521, // ptrace
    X32 + 528, // kexec_load
    X32 + 539, // process_vm_readv
    X32 + 540, // process_vm_writev
];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Restricts the caller.
///
/// # Errors
/// If the kernel, or a filter of the container, does not let it.
pub(crate) fn restrict(permissions: &Permissions, extent: Extent) -> Result<(), Error> {
    let apply = match extent {
        Extent::Process => apply_filter_all_threads,
        Extent::Thread => apply_filter,
    };
    apply(&program(missing(), libc::ENOSYS)?)?;
    apply(&program(refused(permissions)?, libc::EPERM)?)
}

/// Calls whose arguments no filter can read, as if the kernel did not have them: the C
/// library uses clone(2) then.
fn missing() -> Rules {
    every_number(&[libc::SYS_clone3])
}

fn refused(permissions: &Permissions) -> Result<Rules, Error> {
    let mut rules = every_number(REFUSED);
    #[cfg(target_arch = "x86_64")]
    rules.extend(X32_OWN.map(|number| (number, Vec::new())));
    let namespaces: Result<Vec<_>, Error> =
        NAMESPACES.iter().map(|flag| has_flag(0, *flag)).collect();
    let namespaces = namespaces?;
    for number in numbers(libc::SYS_clone) {
        rules.insert(number, namespaces.clone());
    }
    // The limits of another process: one of no CPU time kills it, by a signal of the kernel.
    for number in numbers(libc::SYS_prlimit64) {
        rules.insert(number, vec![rule(0, SeccompCmpOp::Ne, 0)?]);
    }
    if permissions.connect.is_some() {
        let mut transports = Vec::new();
        for transport in OTHER_TRANSPORTS {
            transports.push(when(2, SeccompCmpOp::Eq, transport)?);
        }
        transports.push(when(0, SeccompCmpOp::Eq, AF_SMC)?);
        for number in numbers(libc::SYS_socket) {
            rules.insert(number, transports.clone());
        }
        for (call, flags) in SENDS {
            for number in numbers(call) {
                rules.insert(number, vec![has_flag(flags, libc::MSG_FASTOPEN)?]);
            }
        }
    }
    Ok(rules)
}

/// A family of sockets that is TCP where the peer has nothing better.
const AF_SMC: libc::c_int = 43;

/// Calls that are refused whatever their arguments are.
fn every_number(calls: &[i64]) -> Rules {
    let all = calls.iter().flat_map(|number| numbers(*number));
    all.map(|number| (number, Vec::new())).collect()
}

/// The numbers of one call.
fn numbers(call: i64) -> Vec<i64> {
    #[cfg(target_arch = "x86_64")]
    return vec![call, X32 + call];
    #[cfg(not(target_arch = "x86_64"))]
    return vec![call];
}

fn has_flag(argument: u8, flag: libc::c_int) -> Result<SeccompRule, Error> {
    let flag = u64::from(flag.unsigned_abs());
    rule(argument, SeccompCmpOp::MaskedEq(flag), flag)
}

fn when(argument: u8, operator: SeccompCmpOp, value: libc::c_int) -> Result<SeccompRule, Error> {
    rule(argument, operator, u64::from(value.unsigned_abs()))
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, Error> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}

pub(crate) fn program(rules: Rules, errno: libc::c_int) -> Result<BpfProgram, Error> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let refuse = SeccompAction::Errno(errno.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture)?;
    Ok(filter.try_into()?)
}
