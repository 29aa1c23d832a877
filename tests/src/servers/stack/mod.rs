//! The template of AWS: translated, linted, deployed to an emulator.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Ministack;
use super::python::{command, environment, output};

const DEPLOY: &str = include_str!("deploy.py");
const TRANSLATE: &str = include_str!("translate.py");
const TRANSLATOR: [&str; 2] = ["ministack==1.5.33", "aws-sam-translator==1.115.0"];
const CFN_LINT: &str = "cfn-lint==1.58.0";
const SAM: &str = "aws-sam-cli==1.170.0";
const REGION: &str = "us-east-1";

/// Where the template is.
#[must_use]
pub fn template_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/aws/template.yaml")
}

/// SAM templates in plain `CloudFormation`, with parameters and conditions put in.
///
/// # Panics
/// One of them cannot be translated.
#[must_use]
pub fn translate(texts: &[String], parameters: &[(&str, &str)]) -> Vec<Value> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), json!(texts).to_string()).expect("a file of templates");
    let parameters = json!(parameters.iter().copied().collect::<BTreeMap<_, _>>()).to_string();
    let path = file.path().to_str().expect("a UTF-8 path");
    let said = output(
        &environment(&TRANSLATOR),
        "python",
        &["-c", TRANSLATE, &parameters, path],
    );
    serde_json::from_str(&said).expect("JSON")
}

/// Has `cfn-lint` look at a template.
///
/// # Panics
/// It has findings, or cannot be installed.
pub fn cfn_lint(template: &Path) {
    must_accept(CFN_LINT, "cfn-lint", &[path(template)]);
}

/// Has `sam validate --lint` look at a template. It needs no account.
///
/// # Panics
/// It has findings, or cannot be installed.
pub fn sam_validate(template: &Path) {
    let args = ["validate", "--lint", "--region", REGION, "--template"];
    must_accept(SAM, "sam", &[&args[..], &[path(template)]].concat());
}

fn must_accept(package: &str, program: &str, args: &[&str]) {
    let mut command = command(&environment(&[package]), program, args);
    let said = command
        .env("SAM_CLI_TELEMETRY", "0")
        .env("AWS_DEFAULT_REGION", REGION)
        .output()
        .expect("it starts");
    let [output, errors] =
        [&said.stdout, &said.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    assert!(said.status.success(), "{program}: {output}{errors}");
}

/// A stack in an emulator, made of the template.
#[derive(Debug, Clone)]
pub struct Stack {
    name: String,
    outputs: BTreeMap<String, String>,
}

impl Stack {
    /// Deploys the template: with the zip of each function, and with parameters beside those that the
    /// emulator needs (`Arch`, `MetricMathAlarms`).
    ///
    /// # Panics
    /// The stack is not made; the reasons that the emulator gives are in the message.
    #[must_use]
    pub fn deploy(
        ministack: &Ministack,
        zips: &[(&str, &Path)],
        parameters: &[(&str, &str)],
    ) -> Self {
        let name = "foldback".to_owned();
        let zips: BTreeMap<_, _> = zips.iter().map(|(name, zip)| (*name, path(zip))).collect();
        // The emulator runs what it is given on this machine, and knows no metric math.
        let given = [("Arch", "x86_64"), ("MetricMathAlarms", "false")];
        let parameters: BTreeMap<_, _> = given.iter().chain(parameters).copied().collect();
        let said = output(
            ministack.environment(),
            "python",
            &[
                "-c",
                DEPLOY,
                &ministack.endpoint(),
                path(&template_path()),
                &name,
                &json!(zips).to_string(),
                &json!(parameters).to_string(),
            ],
        );
        let outputs = serde_json::from_str(&said).expect("JSON");
        Self { name, outputs }
    }

    /// The name of the stack.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the stack says of itself, by the names of the template's outputs.
    #[must_use]
    pub fn outputs(&self) -> &BTreeMap<String, String> {
        &self.outputs
    }
}

/// What a Python script prints, as JSON, when it asks an emulator by boto3; its argument is the endpoint.
///
/// # Panics
/// The script fails.
#[must_use]
pub fn ask(ministack: &Ministack, script: &str) -> Value {
    let said = output(
        ministack.environment(),
        "python",
        &["-c", script, &ministack.endpoint()],
    );
    serde_json::from_str(&said).expect("JSON")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}
