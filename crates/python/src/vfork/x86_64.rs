//! `run_in_other` on x86-64: in the memory of this process.
//!
//! It owns the system call, which returns twice on one stack, and what the kernel does not
//! pass on to a process that it makes so.

use std::arch::asm;
use std::sync::OnceLock;

/// An area of restartable sequences is a multiple of this, in bytes.
const RSEQ_UNIT: usize = 32;
/// What precedes the code that the kernel goes on with where a sequence is interrupted.
const RSEQ_SIGNATURE: u32 = 0x5305_3053;

type Task<T> = extern "C" fn(*mut T) -> libc::c_int;

struct Call<T> {
    task: Task<T>,
    argument: *mut T,
    rseq: Option<Rseq>,
}

/// Runs `task(argument)` in another process, which it ends, or returns from in a fork of that. Returns in this
/// process when the other has ended: its pid, or a negative errno. In a fork it returns what `task` returns.
pub(crate) fn run_in_other<T>(task: Task<T>, argument: *mut T) -> libc::c_int {
    let mut call = Call {
        task,
        argument,
        rseq: Rseq::of_this_thread(),
    };
    let result: libc::c_long;
    // SAFETY: this process stands still in the system call until the other has ended. What the other does lies
    // below this frame on the stack, and it never leaves this block. A fork of it has a copy of the memory and
    // of the registers, and may leave. So in each process that goes on, the block is a call of `enter`, or of
    // nothing.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rdi, r13",
            "call r12",
            "movsxd rax, eax",
            "2:",
            in("r12") enter::<T> as extern "C" fn(*mut Call<T>) -> libc::c_int,
            in("r13") &raw mut call,
            inlateout("rax") libc::SYS_vfork => result,
            clobber_abi("C"),
        );
    }
    result as libc::c_int
}

extern "C" fn enter<T>(call: *mut Call<T>) -> libc::c_int {
    // SAFETY: it is in the frame of `run_in_other`, which waits.
    let call = unsafe { &*call };
    if let Some(rseq) = &call.rseq {
        rseq.register();
    }
    (call.task)(call.argument)
}

/// An area of restartable sequences (rseq(2)). libc has registered it, since glibc 2.35: the kernel writes there
/// which core the thread runs on, and looks there for a sequence that it has interrupted.
struct Rseq {
    address: usize,
    bytes: usize,
}

impl Rseq {
    /// That of the thread that calls.
    fn of_this_thread() -> Option<Self> {
        static CONSTANTS: OnceLock<Option<(isize, u32)>> = OnceLock::new();
        let (offset, bytes) = (*CONSTANTS.get_or_init(constants))?;
        // SAFETY: it has no precondition. On this processor it returns the thread pointer.
        let thread = unsafe { libc::pthread_self() } as usize;
        (bytes > 0).then(|| Self {
            address: thread.wrapping_add_signed(offset),
            bytes: (bytes as usize).next_multiple_of(RSEQ_UNIT),
        })
    }

    /// vfork drops the registration, and the forks of the new process would have none.
    fn register(&self) {
        // SAFETY: the area is registered in the process that waits, and belongs to this thread.
        unsafe {
            libc::syscall(libc::SYS_rseq, self.address, self.bytes, 0, RSEQ_SIGNATURE);
        }
    }
}

/// Where libc has the area, from the thread pointer on, and its size; 0 if it has registered none.
fn constants() -> Option<(isize, u32)> {
    // SAFETY: a libc that has these symbols has constants of these types there.
    unsafe {
        let offset = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()).cast::<isize>();
        let bytes = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_size".as_ptr()).cast::<u32>();
        Some((*offset.as_ref()?, *bytes.as_ref()?))
    }
}
