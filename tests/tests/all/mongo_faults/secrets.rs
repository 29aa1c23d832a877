//! A store that cannot be reached says why, and never says the password.

use std::error::Error as _;
use std::future::Future;

use foldback_tests::fixtures::{group, lead, lead_key, write};
use foldback_tests::servers::{Secantus, User, free_port};
use shared::adapters::SystemClock;
use shared::adapters::mongo::{Mongo, Retention};
use shared::ports::Committed::Done;
use shared::ports::{Clock, Error, ErrorKind, Reading, Tables};

use crate::mongo::{connect, run};

/// As it stands in a connection string, where `%21` is an exclamation mark.
const PASSWORD: &str = "sw0rdfish%21";
/// In every form of it that an error could show.
const SECRET: &str = "sw0rdfish";

/// The whole chain of reasons of a failure to connect, and what to do about it.
async fn refusal(uri: &str) -> (ErrorKind, String) {
    let connected = Mongo::connect(uri, Retention::default()).await;
    let error = connected.expect_err("refused");
    let told = chain(&error);
    for shown in [&told, &format!("{error:?}"), &format!("{error:#?}")] {
        assert!(!shown.contains(SECRET), "it tells the password: {shown}");
    }
    (error.kind(), told)
}

fn chain(error: &Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(reason) = source {
        told = format!("{told}: {reason}");
        source = reason.source();
    }
    told
}

/// Asserts that a connection string is refused for good, with a reason that has these words.
fn check_refused(uri: &str, words: &[&str]) {
    run(async {
        let (kind, told) = refusal(uri).await;
        assert_eq!(kind, ErrorKind::Reject, "{told}");
        for word in words {
            assert!(told.contains(word), "{word:?} is not in: {told}");
        }
    });
}

#[test]
fn a_malformed_connection_string_is_refused_without_telling_it() {
    let after = |what: &str| format!("mongodb://ann:{PASSWORD}{what}");
    check_refused("", &["no scheme"]);
    check_refused(&format!("ann:{PASSWORD}@127.0.0.1"), &["no scheme"]);
    check_refused(
        &format!("postgres://ann:{PASSWORD}@127.0.0.1/"),
        &["postgres"],
    );
    check_refused(&after("@127.0.0.1:port/rows"), &["127.0.0.1", "port"]);
    check_refused(&after("@"), &["host"]);
    // Nothing tells a user and a password from a host and a port.
    check_refused(&after(""), &["form"]);
    // Characters of a password as a newcomer leaves them.
    check_refused(&after(":more@127.0.0.1/"), &["encoded"]);
    check_refused(&after("@more@127.0.0.1/"), &["encoded"]);
    check_refused(&after("/more@127.0.0.1/"), &["encoded"]);
    check_refused(&after("?more@127.0.0.1/"), &["encoded"]);
    check_refused(&after("#more@127.0.0.1/"), &["encoded"]);
    check_refused(&after("[more]@127.0.0.1/"), &["encoded"]);
    check_refused(&after("%@127.0.0.1/"), &["unescaped %"]);
    let timeout = after("@127.0.0.1/?connectTimeoutMS=soon");
    check_refused(&timeout, &["connecttimeoutms"]);
    check_refused(
        &after("@127.0.0.1/?tls=true&tlsInsecure=maybe"),
        &["tlsinsecure"],
    );
    let missing = "@127.0.0.1/?tls=true&tlsCAFile=/no/such/file.pem";
    check_refused(&after(missing), &["/no/such/file.pem"]);
}

/// How long it takes, in milliseconds.
async fn timed<T>(work: impl Future<Output = T>) -> (T, i64) {
    let since = SystemClock.now();
    let done = work.await;
    (done, SystemClock.now().ms_since(since))
}

#[test]
fn a_server_that_is_not_there_is_to_be_tried_again_after_a_while() {
    run(async {
        let port = free_port();
        let uri =
            format!("mongodb://ann:{PASSWORD}@127.0.0.1:{port}/?serverSelectionTimeoutMS=700");
        let ((kind, told), took_ms) = timed(refusal(&uri)).await;
        assert_eq!(kind, ErrorKind::Retry, "{told}");
        assert!(told.contains(&format!("127.0.0.1:{port}")), "{told}");
        assert!((600..10_000).contains(&took_ms), "{took_ms} ms: {told}");
    });
}

#[test]
fn who_may_not_do_this_is_refused() {
    const DATABASE: &str = "rows";
    let user = |name, role| User {
        name,
        password: "sw0rdfish!",
        role,
    };
    let users = [user("ann", "readWrite"), user("bob", "read")];
    let server = Secantus::start_with_users(DATABASE, &users);
    let address = format!("127.0.0.1:{}", server.port());
    let uri = |name: &str, password: &str| {
        format!("mongodb://{name}:{password}@{address}/{DATABASE}?directConnection=true")
    };
    // Somebody else must make the collections first.
    check_refused(&uri("bob", PASSWORD), &["authorized"]);
    run(async {
        let ann = connect(&uri("ann", PASSWORD)).await;
        let shown = format!("{ann:?} {ann:#?}");
        assert!(!shown.contains(SECRET), "{shown}");
        assert!(
            shown.contains(DATABASE) && !shown.contains(&address),
            "{shown}"
        );
        let group = group("acme", "lead-1");
        let insert = write(&lead_key(&group), None, lead(&group, "open"));
        let done = ann.commit(&[insert], &[], SystemClock.now()).await;
        assert_eq!(done.expect("commit"), [Done]);

        let bob = Mongo::open(&uri("bob", PASSWORD), Retention::default()).await;
        let read = bob
            .expect("open")
            .read(&[lead_key(&group)], Reading::Row)
            .await;
        assert_eq!(read.expect("bob may read").len(), 1);
    });
    check_refused(&uri("ann", "sw0rdfish"), &["uthentication"]);
    check_refused(&uri("nobody", PASSWORD), &["uthentication"]);
    check_refused(
        &format!("mongodb://{address}/{DATABASE}?directConnection=true"),
        &["uthentication"],
    );
}
