//! A load on a stack: the template deployed to an emulator of AWS that runs the functions' own binaries, rows in a
//! MongoDB wire server, all on this machine.
//!
//!     cargo build --workspace --release
//!     cargo bench --workspace --bench stack [-- SCENARIO.toml] [OPTIONS of foldback bench]
//!
//! Results and report are in `foldback-bench`.
#![expect(clippy::print_stdout, reason = "a benchmark tells")]

#[path = "../tests/all/aws/stack.rs"]
#[expect(dead_code, reason = "tests ask a stack more than a benchmark does")]
mod stack;
#[path = "../tests/all/support.rs"]
#[expect(dead_code, reason = "tests run more than a benchmark does")]
mod support;

use std::collections::BTreeSet;

use stack::Deployed;

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    words.retain(|word| word != "--bench");
    if words.first().is_none_or(|word| word.starts_with('-')) {
        let own = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/stack.toml");
        words.insert(0, own.to_owned());
    }
    let parameters = [
        ("SettingsSeconds", "1"),
        ("ReplaySchedule", "rate(1 day)"),
        ("ReportSchedule", "rate(1 day)"),
    ];
    let deployed = Deployed::without_settings(&BTreeSet::new(), &parameters);
    let url = deployed.ingest_url();
    let mut args = vec!["bench"];
    args.extend(words.iter().map(String::as_str));
    args.extend(["--ingest-url", &url]);
    let ended = deployed.command(&args);
    println!("{}{}", ended.stderr, ended.stdout);
    assert_eq!(ended.status, 0, "{}", deployed.logs());
}
