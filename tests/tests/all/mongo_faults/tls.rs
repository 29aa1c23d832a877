//! Connections under TLS.

use std::error::Error as _;
use std::path::PathBuf;

use foldback_tests::fixtures::{group, lead, lead_key, write};
use foldback_tests::servers::Secantus;
use shared::adapters::SystemClock;
use shared::adapters::mongo::{Mongo, Retention};
use shared::ports::Committed::Done;
use shared::ports::{Clock, ErrorKind, Reading, Tables};
use tempfile::TempDir;

use crate::mongo::{connect, run};

/// A certificate that vouches for itself, for this machine, and its key, in files.
struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    _directory: TempDir,
}

impl Certificate {
    fn new() -> Self {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        Self {
            certificate: file("certificate.pem", made.cert.pem()),
            key: file("key.pem", made.signing_key.serialize_pem()),
            _directory: directory,
        }
    }
}

fn check_fails(uri: &str, word: &str) {
    run(async {
        let impatient = format!("{uri}&serverSelectionTimeoutMS=1500");
        let connected = Mongo::connect(&impatient, Retention::default()).await;
        let error = connected.expect_err("refused");
        let told = error.source().map(ToString::to_string).unwrap_or_default();
        assert_eq!(error.kind(), ErrorKind::Retry, "{told}");
        assert!(told.contains(word), "{word:?} is not in: {told}");
    });
}

#[test]
fn only_a_client_that_trusts_the_certificate_gets_through() {
    let (own, other) = (Certificate::new(), Certificate::new());
    let server = Secantus::start_with_tls(&own.certificate, &own.key);
    let plain = server.uri("tls");
    let trusting = |certificate: &Certificate| {
        format!(
            "{plain}&tls=true&tlsCAFile={}",
            certificate.certificate.display()
        )
    };
    run(async {
        let rows = connect(&trusting(&own)).await;
        let group = group("acme", "lead-1");
        let insert = write(&lead_key(&group), None, lead(&group, "open"));
        let done = rows.commit(&[insert], &[], SystemClock.now()).await;
        assert_eq!(done.expect("commit"), [Done]);
        let read = rows.read(&[lead_key(&group)], Reading::Row).await;
        assert_eq!(read.expect("read").len(), 1);
    });
    check_fails(&trusting(&other), "certificate");
    check_fails(&format!("{plain}&tls=true"), "certificate");
    check_fails(&plain, "127.0.0.1");
}
