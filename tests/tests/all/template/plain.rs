//! A template in plain `CloudFormation`, and what is asked of it.

use foldback_tests::servers::stack::{template_path, translate};
use serde_json::Value;

/// A parameter for each condition, so that every permission and every alarm is there.
const EVERYTHING_ON: [(&str, &str); 5] = [
    (
        "MongoSecretArn",
        "arn:aws:secretsmanager:us-east-1:000000000000:secret:mongo-a1b2c3",
    ),
    (
        "AlarmTopicArn",
        "arn:aws:sns:us-east-1:000000000000:on-call",
    ),
    ("Tracing", "Active"),
    (
        "ConsoleTokenSecretArn",
        "arn:aws:secretsmanager:us-east-1:000000000000:secret:token-a1b2c3",
    ),
    ("ConsoleActs", "true"),
];

/// The template as it is written.
pub(super) fn source() -> String {
    std::fs::read_to_string(template_path()).expect("infra/aws/template.yaml")
}

/// Templates translated with everything on that a parameter can put on.
pub(super) fn everything_on(texts: &[String]) -> Vec<Plain> {
    translate(texts, &EVERYTHING_ON)
        .into_iter()
        .map(Plain)
        .collect()
}

/// A template in plain `CloudFormation`.
#[derive(Debug)]
pub(super) struct Plain(pub(super) Value);

/// One resource of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resource<'a> {
    pub(super) name: &'a str,
    whole: &'a Value,
}

/// What a statement of a role's policy allows.
#[derive(Debug)]
pub(super) struct Grant<'a> {
    pub(super) role: &'a str,
    pub(super) action: String,
    pub(super) resource: String,
    /// When it does; null for always.
    pub(super) condition: Value,
}

impl Plain {
    /// The resources of a type.
    pub(super) fn all<'a>(&'a self, kind: &str) -> impl Iterator<Item = Resource<'a>> {
        let resources = self.0["Resources"].as_object().expect("resources");
        resources
            .iter()
            .filter(move |(_, resource)| resource["Type"] == kind)
            .map(|(name, whole)| Resource { name, whole })
    }

    /// The resource of a type and a name.
    pub(super) fn one<'a>(&'a self, kind: &str, name: &str) -> Option<Resource<'a>> {
        self.all(kind).find(|resource| resource.name == name)
    }

    /// A pair of every action and resource that a role allows.
    pub(super) fn grants(&self) -> Vec<Grant<'_>> {
        let mut grants = Vec::new();
        for role in self.all("AWS::IAM::Role") {
            for policy in list(&role.get("Policies")) {
                for statement in list(&policy["PolicyDocument"]["Statement"]) {
                    for action in list(&statement["Action"]) {
                        for resource in list(&statement["Resource"]) {
                            grants.push(Grant {
                                role: role.name,
                                action: action.as_str().unwrap_or_default().to_owned(),
                                resource: target(&resource),
                                condition: statement["Condition"].clone(),
                            });
                        }
                    }
                }
            }
        }
        grants
    }
}

impl Resource<'_> {
    /// A property; null where it is not given.
    pub(super) fn get(&self, property: &str) -> Value {
        self.whole["Properties"][property].clone()
    }

    /// A property that is a number; zero where it is not given.
    pub(super) fn number(&self, property: &str) -> u64 {
        self.get(property).as_u64().unwrap_or_default()
    }

    /// An attribute beside the properties.
    pub(super) fn attribute(&self, name: &str) -> &Value {
        &self.whole[name]
    }
}

/// A list, or what stands where it may stand alone.
pub(super) fn list(value: &Value) -> Vec<Value> {
    match value.as_array() {
        Some(items) => items.clone(),
        None if value.is_null() => Vec::new(),
        None => vec![value.clone()],
    }
}

/// What a reference refers to: the name of a resource, or the text that is built.
pub(super) fn target(value: &Value) -> String {
    let named = [
        &value["Fn::GetAtt"][0],
        &value["Ref"],
        &value["Fn::Sub"],
        value,
    ];
    let name = named.iter().find_map(|name| name.as_str());
    name.map_or_else(|| value.to_string(), str::to_owned)
}

/// The template translated with nothing on that is off by default.
pub(super) fn by_default() -> Plain {
    const NEEDED: [(&str, &str); 1] = [("MongoUri", "mongodb://127.0.0.1:1/none")];
    let templates = translate(&[source()], &NEEDED);
    Plain(templates.into_iter().next().unwrap_or_default())
}
