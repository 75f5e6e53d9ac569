//! What Landlock refuses: writes to files, connections, signals.

use crate::permissions::{Extent, Lack, Permissions, Rest};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    RestrictSelfAttr, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    Scope, make_bitflags, path_beneath_rules,
};

/// What this crate knows how to use. A later one could refuse what an application
/// needs, and no option would allow.
pub(crate) const WANTED: ABI = ABI::V6;

/// To open a file for writing, and to make one.
const APPEND: BitFlags<AccessFs> = make_bitflags!(AccessFs::{WriteFile | MakeReg});

/// Restricts the caller. Returns what the kernel cannot refuse.
pub(crate) fn restrict(permissions: &Permissions, extent: Extent, wanted: ABI) -> Rest {
    let others = match extent {
        Extent::Process => other_threads(),
        Extent::Thread => 0,
    };
    let Ok(status) = try_restrict(permissions, wanted, others > 0) else {
        return rest(ABI::Unsupported, permissions, 0);
    };
    let known = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi.min(wanted),
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => ABI::Unsupported,
    };
    rest(
        known,
        permissions,
        if status.all_threads { 0 } else { others },
    )
}

fn rest(known: ABI, permissions: &Permissions, threads: usize) -> Rest {
    Rest {
        lacks: lacks(known, permissions),
        threads: if known > ABI::Unsupported { threads } else { 0 },
    }
}

/// What a kernel with this version of Landlock cannot refuse.
fn lacks(known: ABI, permissions: &Permissions) -> Vec<Lack> {
    let limits_ports = permissions.connect.is_some();
    let lacks = [
        (known < ABI::V1, Lack::Files),
        (ABI::V1 <= known && known < ABI::V3, Lack::Truncation),
        (ABI::V1 <= known && known < ABI::V5, Lack::Devices),
        (known < ABI::V4 && limits_ports, Lack::Connections),
        (known < ABI::V6, Lack::Signals),
    ];
    let lacks = lacks.into_iter().filter(|(is_lacking, _)| *is_lacking);
    lacks.map(|(_, lack)| lack).collect()
}

fn try_restrict(
    permissions: &Permissions,
    wanted: ABI,
    all_threads: bool,
) -> Result<RestrictionStatus, RulesetError> {
    let writes = AccessFs::from_write(wanted);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(writes)?;
    let ports = permissions.connect.as_ref().filter(|_| wanted >= ABI::V4);
    if ports.is_some() {
        rules = rules.handle_access(AccessNet::ConnectTcp)?;
    }
    if wanted >= ABI::V6 {
        rules = rules.scope(Scope::from_all(wanted))?;
    }
    let mut rules = rules
        .create()?
        .add_rules(path_beneath_rules(&permissions.write, writes))?
        .add_rules(path_beneath_rules(&permissions.append, APPEND))?;
    for port in ports.into_iter().flatten() {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    rules.all_threads(all_threads)?.restrict_self()
}

/// How many threads the process has beside this one, if the system tells.
fn other_threads() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    threads.saturating_sub(1)
}
