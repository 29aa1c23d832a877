//! The guide's table of permissions is the template's.

use std::collections::BTreeSet;

use foldback_tests::servers::stack::template_path;

use super::{everything_on, source};

/// The rows of the table, as (role, resource, action).
fn documented(guide: &str) -> BTreeSet<(String, String, String)> {
    let mut grants = BTreeSet::new();
    for line in guide.lines() {
        let cells: Vec<_> = line
            .split('|')
            .map(|cell| cell.trim().replace('`', ""))
            .collect();
        let [_, role, resource, actions, _why, _] = cells.as_slice() else {
            continue;
        };
        for action in actions.split(", ").filter(|action| action.contains(':')) {
            grants.insert((role.clone(), resource.clone(), action.to_owned()));
        }
    }
    grants
}

/// As the table names it.
fn short(resource: &str) -> String {
    if resource.contains(":secret:mongo") {
        return "MongoSecretArn".to_owned();
    }
    if resource.contains(":secret:token") {
        return "ConsoleTokenSecretArn".to_owned();
    }
    let webhooks = resource.contains(":secret:foldback/webhook/");
    if webhooks {
        "WebhookSecretsPrefix".to_owned()
    } else {
        resource.to_owned()
    }
}

#[test]
fn the_guide_tells_every_permission() {
    let guide = std::fs::read_to_string(template_path().with_file_name("README.md"))
        .expect("infra/aws/README.md");
    let template = everything_on(&[source()]);
    let granted: BTreeSet<_> = template
        .iter()
        .flat_map(|template| template.grants())
        .map(|grant| (grant.role.to_owned(), short(&grant.resource), grant.action))
        .collect();
    let documented = documented(&guide);
    let untold: Vec<_> = granted.difference(&documented).collect();
    let ungranted: Vec<_> = documented.difference(&granted).collect();
    assert!(untold.is_empty(), "not in the guide: {untold:#?}");
    assert!(ungranted.is_empty(), "not in the template: {ungranted:#?}");
}
