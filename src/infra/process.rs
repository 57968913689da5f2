//! What this process asks of the kernel, so that secrets in its memory stay there: no core dumps,
//! nobody looks into it, nothing of it in the swap space.
use rustix::mm::MlockAllFlags;
use rustix::process::DumpableBehavior;
use rustix::process::Resource;
use rustix::process::Rlimit;

/// Why memory is not locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// With a limit, and all future memory locked, an allocation over it would fail: a letter in
    /// the middle of its way. So it is not even tried.
    #[error(
        "the limit of locked memory is {0} KiB: set LimitMEMLOCK=infinity in the unit (or \
         `ulimit -l unlimited`), or grant CAP_IPC_LOCK"
    )]
    Limit(u64),
    /// The kernel said no.
    #[error(
        "the kernel refuses to lock memory: {0}; LimitMEMLOCK=infinity or CAP_IPC_LOCK allows it"
    )]
    Kernel(#[source] rustix::io::Errno),
}

/// Forbids core dumps, and other processes of the same user to look into this one.
///
/// # Errors
/// When the kernel refuses, which it has no reason for: limits may always be lowered.
pub fn forbid_dumps() -> Result<(), rustix::io::Errno> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none)?;
    // A limit of zero does not bind a program that cores are piped to (core(5)); this does.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// Keeps all memory, present and future, out of the swap space, each page from its first use on.
///
/// Freed pages are not given back to the system while they are locked: memory stays at its
/// highest level (docs/performance.md).
///
/// # Errors
/// [`LockError`] when it is not allowed; then nothing is locked.
pub fn lock_memory() -> Result<(), LockError> {
    let limit = rustix::process::getrlimit(Resource::Memlock).current;
    if let Some(octets) = limit
        && !may_lock_anyway()
    {
        return Err(LockError::Limit(octets / 1_024));
    }
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    rustix::mm::mlockall(flags).map_err(LockError::Kernel)
}

/// Whether CAP_IPC_LOCK (capabilities(7)) is in effect: the limit does not count then.
fn may_lock_anyway() -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    effective.is_some_and(|set| set & (1 << CAP_IPC_LOCK) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_are_forbidden_for_good() {
        forbid_dumps().unwrap();
        let limit = rustix::process::getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        let behaviour = rustix::process::dumpable_behavior().unwrap();
        assert_eq!(behaviour, DumpableBehavior::NotDumpable);
    }
}
