//! The template of AWS holds what it promises: each property is checked in what it translates to, and
//! each check finds a template that breaks it.

#![expect(
    clippy::indexing_slicing,
    reason = "what a template lacks is null when it is asked for by name; a check then says so"
)]

mod broken;
mod checks;
mod deployed;
mod plain;
mod readme;

use foldback_tests::servers::stack::{cfn_lint, sam_validate, template_path};

use checks::CHECKS;
use plain::{by_default, everything_on, source};

#[test]
fn the_template_keeps_its_promises() {
    let [template] = everything_on(&[source()]).try_into().expect("one template");
    let complaints: Vec<_> = CHECKS
        .iter()
        .flat_map(|(name, check)| check(&template).into_iter().map(move |what| (*name, what)))
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// Who does not ask for more gets a console that can only look.
#[test]
fn the_console_of_a_plain_stack_changes_nothing() {
    let template = by_default();
    let grants = template.grants();
    let own: Vec<_> = grants
        .iter()
        .filter(|grant| grant.role == "ConsoleRole")
        .collect();
    assert!(own.len() > 8, "{own:?}");
    for grant in own {
        let writes = ["Put", "Update", "Delete", "Write", "Send"];
        let logs = grant.resource == "ConsoleLogs";
        let writes = writes.iter().any(|word| grant.action.contains(word)) && !logs;
        assert!(!writes, "{grant:?}");
        assert_ne!(grant.action, "secretsmanager:GetSecretValue", "{grant:?}");
    }
}

#[test]
fn cfn_lint_accepts_the_template() {
    cfn_lint(&template_path());
}

#[test]
fn sam_accepts_the_template() {
    sam_validate(&template_path());
}
