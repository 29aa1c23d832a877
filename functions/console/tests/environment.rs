//! The function's own binary, before it asks Lambda for anything.

use std::process::Command;

#[test]
fn a_function_that_is_not_set_up_says_what_is_missing() {
    let ended = Command::new(env!("CARGO_BIN_EXE_console"))
        .env_clear()
        .env("AWS_REGION", "eu-north-1")
        .output()
        .expect("it starts");
    assert!(!ended.status.success());
    let said = String::from_utf8(ended.stderr).expect("UTF-8");
    assert!(said.contains("AWS_ACCESS_KEY_ID"), "{said}");
}
