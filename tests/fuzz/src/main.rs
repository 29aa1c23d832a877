//! One fuzzer, of the target that the environment variable `TARGET` names.
#![no_main]

use std::sync::LazyLock;

#[path = "../../src/fuzz/mod.rs"]
mod targets;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("TARGET").unwrap_or_default();
    targets::named(&name).unwrap_or_else(|| {
        let names = targets::TARGETS.map(|target| target.name).join(" ");
        panic!("set TARGET to one of: {names}")
    })
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
