//! The long run of one target, guided by coverage: `make fuzz`. The variable
//! `PREFORK_FUZZ_TARGET` names the target; the arguments are libFuzzer's.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("PREFORK_FUZZ_TARGET").unwrap_or_default();
    let found = prefork_fuzz::target(&name);
    found.unwrap_or_else(|| panic!("PREFORK_FUZZ_TARGET={name}: expected the name of a target"))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
