//! Reads the sources and checks what the compiler cannot.

use std::fs;
use std::path::{Path, PathBuf};

/// What the pure core must not name. Attributes and doc examples count too.
const IMPURE: [&str; 14] = [
    "async ",
    ".await",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::time",
    "jiff::Timestamp::now",
    "rusqlite",
    "tokio",
    "rand::",
    "crate::ports",
];

fn sources(below: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(below).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_core_is_pure() {
    let mut files = Vec::new();
    for part in [
        "model",
        "settings",
        "handlers",
        "observers",
        "flow",
        "metrics",
        "trace",
        "webhook",
    ] {
        sources(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(part),
            &mut files,
        );
    }
    assert!(files.len() > 20, "the core has moved: {files:?}");
    let mut impure = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file");
        for (line, text) in text.lines().enumerate() {
            for word in IMPURE.iter().filter(|word| text.contains(**word)) {
                impure.push(format!("{}:{}: {word:?}", file.display(), line + 1));
            }
        }
    }
    assert!(impure.is_empty(), "{impure:#?}");
}

/// Only the adapters know the stores; only the embedded one knows `SQLite`.
#[test]
fn stores_stay_in_their_adapters() {
    let mut files = Vec::new();
    for part in ["ports", "service"] {
        sources(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(part),
            &mut files,
        );
    }
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file");
        for word in ["rusqlite", "mongodb", "aws_sdk", "crate::adapters"] {
            assert!(!text.contains(word), "{} names {word}", file.display());
        }
    }
}

/// Every query of the embedded store is declared: nothing else prepares statements.
#[test]
fn only_declared_queries_are_run() {
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src/adapters/embedded"),
        &mut files,
    );
    assert!(files.len() > 10, "the adapter has moved: {files:?}");
    // The declarations themselves; the file's format; what plans and trials need.
    let may = ["query.rs", "schema.rs", "explain.rs"];
    for file in files {
        if may.iter().any(|name| file.ends_with(name)) {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file");
        for word in [
            "prepare_cached",
            ".prepare(\"",
            "execute_batch",
            "= Query {",
            "ATTACH",
        ] {
            assert!(!text.contains(word), "{} has {word}", file.display());
        }
    }
}

/// Signatures and sessions are compared in constant time, by what HMAC's own crate has for that, and nowhere else:
/// bytes that are compared one by one tell by the time it takes how many of them were right.
#[test]
fn signatures_are_compared_in_constant_time() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut verify = Vec::new();
    for (folder, may_sign) in [
        ("shared/src", false),
        ("functions/console/src", true),
        ("functions/ingest/src", false),
        ("infra/local/src", false),
    ] {
        let mut files = Vec::new();
        sources(&root.join(folder), &mut files);
        let is_test =
            |file: &Path| file.ends_with("tidy.rs") || file.iter().any(|part| part == "tests");
        for file in files.iter().filter(|file| !is_test(file)) {
            let text = fs::read_to_string(file).expect("a source file");
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            for word in [".finalize().into_bytes()", "CtOutput", ".into_bytes() =="] {
                let signs = may_sign && word.starts_with(".finalize");
                assert!(
                    signs || !text.contains(word),
                    "{} has {word}",
                    file.display()
                );
            }
            let name = file.file_name().and_then(|name| name.to_str());
            let times = text.matches(".verify_slice(").count();
            verify.extend(std::iter::repeat_n(
                name.unwrap_or_default().to_owned(),
                times,
            ));
        }
    }
    assert_eq!(verify, ["signature.rs", "access.rs"], "each in one place");
}
