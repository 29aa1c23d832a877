//! `foldback serve` from outside: HTTP and signals.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::support::Foldback;

const SETTINGS: &str = r#"version = 1
[[tenant]]
ids = ["acme", "globex"]
[tenant.webhook]
unsigned = true
[tenant.set]
stage = { pointer = "/stage" }
assignee = { pointer = "/owner" }
amount = { pointer = "/amount" }
[[tenant.map]]
type = "lead.created"
to = "lead.created"
[[tenant.map]]
type = "lead.updated"
to = "lead.updated"
[[tenant.conversion]]
name = "created"
on = "lead.created"
"#;

/// A server that is up.
pub(crate) struct Serving {
    child: Child,
    address: String,
    _stdout: BufReader<ChildStdout>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: String,
    pub(crate) body: String,
}

impl Serving {
    /// Starts one at a free port and waits until it listens.
    pub(crate) fn start(foldback: &Foldback, args: &[&str]) -> Self {
        Self::start_with(foldback, args, &[])
    }

    /// Starts one in this environment.
    pub(crate) fn start_with(
        foldback: &Foldback,
        args: &[&str],
        environment: &[(&str, String)],
    ) -> Self {
        let args = [&["serve", "--listen", "127.0.0.1:0"], args].concat();
        let mut command = foldback.command(&args);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        Self::start_as(command)
    }

    /// Starts what such a command says.
    pub(crate) fn start_as(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout
            .read_line(&mut line)
            .expect("it says where it listens");
        let address = line.trim().strip_prefix("http://").expect("an address");
        Self {
            address: address.trim_end_matches('/').to_owned(),
            child,
            _stdout: stdout,
        }
    }

    /// The host and port it listens at.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request and reads the answer.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {length}\r\n\
             {headers}\r\n{body}",
            self.address
        )
        .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Answer {
            status: status.expect("a status"),
            headers: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "", "")
    }

    /// Sends an event as a webhook.
    pub(crate) fn event(&self, tenant: &str, event: &Value) -> Answer {
        let header = "content-type: application/cloudevents+json\r\n";
        let path = format!("/events/{tenant}");
        self.request("POST", &path, header, &event.to_string())
    }

    /// Tells it to end, and waits until it has.
    pub(crate) fn end(mut self, signal: &str) -> i32 {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("kill runs").success());
        let ended = self.child.wait().expect("it ends");
        ended.code().unwrap_or(-1)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // A test that failed leaves no process behind; one that ended is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An event of a lead, so many minutes in.
pub(crate) fn event(lead: &str, minute: u32, kind: &str) -> Value {
    json!({
        "specversion": "1.0", "source": "//crm", "id": format!("{lead}-{minute}"), "type": kind,
        "time": format!("2026-03-01T{:02}:{:02}:00Z", 9 + minute / 60, minute % 60),
        "partitionkey": lead,
        "data": {"stage": format!("stage {minute}"), "owner": "Ann", "amount": minute},
    })
}

pub(crate) fn settings(foldback: &Foldback) -> String {
    foldback.file("settings.toml", SETTINGS)
}

#[test]
fn what_is_sent_is_taken_in_and_processed() {
    let foldback = Foldback::new();
    let settings = settings(&foldback);
    let serving = Serving::start(&foldback, &["--settings", &settings]);
    assert_eq!(serving.get("/healthz").status, 200);
    let page = serving.get("/");
    let policy = "content-security-policy: default-src 'none'";
    assert!(page.headers.contains(policy), "{}", page.headers);
    let taken = |event: &Value| {
        let answer = serving.event("acme", event);
        (answer.status, answer.body)
    };
    let first = event("lead-1", 0, "lead.created");
    assert_eq!(
        taken(&first),
        (202, r#"{"accepted":1,"duplicates":0}"#.to_owned())
    );
    assert_eq!(
        taken(&first),
        (202, r#"{"accepted":0,"duplicates":1}"#.to_owned())
    );
    assert_eq!(taken(&event("lead-1", 30, "lead.updated")).0, 202);
    assert_eq!(taken(&event("lead-1", 10, "lead.updated")).0, 202);
    let other = json!({ "specversion": "1.0" });
    assert_eq!(taken(&other).0, 400);
    assert_eq!(serving.event("nobody", &first).status, 404);
    assert_eq!(serving.get("/events/acme").status, 405);
    let much = format!("{{\"x\":\"{}\"}}", "x".repeat(1 << 20));
    let header = "content-type: application/cloudevents+json\r\n";
    let answer = serving.request("POST", "/events/acme", header, &much);
    assert_eq!(answer.status, 413, "{}", answer.body);
    assert!(serving.get("/metrics").body.contains("# TYPE"));
    assert_eq!(serving.end("-TERM"), 0);
    let lead = foldback.ok(&["export", "RSLead"]);
    assert!(
        lead.contains("stage 30") && lead.contains("\"events\":3"),
        "{lead}"
    );
    foldback.ok(&["replay"]);
}

/// Whoever got a 202 finds the event in the rows, however the server is told to end.
#[test]
fn it_finishes_what_it_has_begun() {
    for signal in ["-TERM", "-INT"] {
        let foldback = Foldback::new();
        let settings = settings(&foldback);
        let serving = Serving::start(&foldback, &["--settings", &settings]);
        let accepted = std::thread::scope(|scope| {
            let send = |sender: u32| {
                let serving = &serving;
                move || {
                    let mut accepted = 0_u64;
                    for minute in 0..25 {
                        let kind = if minute == 0 {
                            "lead.created"
                        } else {
                            "lead.updated"
                        };
                        let event = event(&format!("lead-{sender}"), minute, kind);
                        accepted += u64::from(serving.event("acme", &event).status == 202);
                    }
                    accepted
                }
            };
            let senders: Vec<_> = (0..4).map(|sender| scope.spawn(send(sender))).collect();
            senders
                .into_iter()
                .map(|one| one.join().expect("sent"))
                .sum::<u64>()
        });
        assert_eq!(serving.end(signal), 0, "{signal}");
        let rows = foldback.ok(&["export", "RSLead"]);
        let events = rows.lines().map(|line| {
            let row: Value = serde_json::from_str(line).expect("JSON");
            row.get("events").and_then(Value::as_u64).expect("a count")
        });
        assert_eq!((events.sum::<u64>(), accepted), (100, 100), "{signal}");
        foldback.ok(&["replay"]);
    }
}

/// One that is killed gives its data directory, and what it had begun, to the next.
#[test]
fn another_goes_on_where_one_was_killed() {
    let foldback = Foldback::new();
    let settings = settings(&foldback);
    let serving = Serving::start(&foldback, &["--settings", &settings]);
    let refused = foldback.ends(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.status, 3, "{}", refused.stderr);
    for minute in 0..20 {
        let kind = if minute == 0 {
            "lead.created"
        } else {
            "lead.updated"
        };
        assert_eq!(
            serving.event("acme", &event("lead-1", minute, kind)).status,
            202
        );
    }
    assert_eq!(serving.end("-KILL"), -1);
    let serving = Serving::start(&foldback, &[]);
    assert_eq!(serving.get("/healthz").status, 200);
    assert_eq!(serving.end("-TERM"), 0);
    let lead = foldback.ok(&["export", "RSLead"]);
    assert!(lead.contains("\"events\":20"), "{lead}");
    foldback.ok(&["replay"]);
}

/// The document of the API says what else is served at the same address, and how events are sent.
#[test]
fn the_document_describes_what_is_served() {
    let foldback = Foldback::new();
    let settings = settings(&foldback);
    let serving = Serving::start(&foldback, &["--settings", &settings]);
    let document: Value =
        serde_json::from_str(&serving.get("/api/openapi.json").body).expect("JSON");
    for path in ["/healthz", "/metrics"] {
        let about = &document.pointer(&format!("/paths/{}/get/summary", path.replace('/', "~1")));
        assert!(about.is_some(), "{path} is not described");
        assert_eq!(serving.get(path).status, 200, "{path}");
    }
    let post = document.pointer("/paths/~1events~1{tenant}/post");
    let post = post.expect("events are described");
    let kinds = post.pointer("/requestBody/content").expect("kinds");
    let answers = post.pointer("/responses").expect("answers");
    let one = event("lead-1", 0, "lead.created");
    let batch = json!([event("lead-2", 0, "lead.created")]);
    for (kind, body, expect) in [
        ("application/cloudevents+json", one.to_string(), 202),
        ("application/cloudevents-batch+json", batch.to_string(), 202),
        ("application/cloudevents+json", "{}".to_owned(), 400),
        ("text/html", "hello".to_owned(), 415),
    ] {
        if expect == 202 {
            assert!(kinds.get(kind).is_some(), "{kind} is not described");
        }
        let header = format!("content-type: {kind}\r\n");
        let answer = serving.request("POST", "/events/acme", &header, &body);
        assert_eq!(answer.status, expect, "{kind}: {}", answer.body);
        let status = answer.status.to_string();
        assert!(answers.get(&status).is_some(), "{status} is not described");
    }
    let answer = serving.event("nobody", &one);
    assert_eq!(answer.status, 404, "{}", answer.body);
}

const TOKEN: &str = "a token of the environment: 61f0";
const ACME: &str = "a token that sees acme: 8c2d";
const READER: &str = "a token that only reads: 27b9";

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

/// Beyond this machine nobody is let in by his reach alone.
#[test]
fn without_a_token_it_listens_to_this_machine_alone() {
    let foldback = Foldback::new();
    let settings = settings(&foldback);
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8080"] {
        let args = ["serve", "--listen", address, "--settings", &settings];
        let refused = foldback.ends(&args);
        assert_eq!(refused.status, 2, "{}", refused.stderr);
        let why = format!(
            "without a token the console listens on this machine alone, not at {address}: set \
             FOLDBACK_CONSOLE_TOKEN, or give --token-file"
        );
        assert!(refused.stderr.contains(&why), "{}", refused.stderr);
        assert_eq!(refused.stdout, "");
    }
    // Nothing was begun.
    assert!(!foldback.data().exists());
    // One that could be guessed is no token, and is not told.
    let mut command = foldback.command(&["serve", "--listen", "0.0.0.0:0"]);
    let refused = command.env("FOLDBACK_CONSOLE_TOKEN", "guess-me-7");
    let refused = refused.output().expect("it starts");
    let said = String::from_utf8(refused.stderr).expect("UTF-8");
    assert!(said.contains("has fewer than 24 characters"), "{said}");
    assert!(!said.contains("guess-me-7"), "{said}");
    assert_eq!(refused.status.code(), Some(2));
}

/// Who has the token is let in, at any address; nobody else is, not even on this machine.
#[test]
fn a_token_lets_in_who_has_it() {
    let foldback = Foldback::new();
    let settings = settings(&foldback);
    let args = ["serve", "--listen", "0.0.0.0:0", "--settings", &settings];
    let mut command = foldback.command(&args);
    command.env("FOLDBACK_CONSOLE_TOKEN", TOKEN);
    let serving = Serving::start_as(command);
    let jobs = |headers: &str| serving.request("GET", "/api/v1/jobs", headers, "");
    assert_eq!(jobs(&bearer(TOKEN)).status, 200);
    assert_eq!(
        serving
            .request("GET", "/metrics", &bearer(TOKEN), "")
            .status,
        200
    );
    for wrong in [
        String::new(),
        bearer(""),
        bearer(&TOKEN[1..]),
        bearer(&TOKEN.to_uppercase()),
        bearer(&format!("{TOKEN}0")),
        "x-forwarded-for: 127.0.0.1\r\n".to_owned(),
        format!("cookie: foldback={TOKEN}\r\n"),
    ] {
        let answer = jobs(&wrong);
        assert_eq!(answer.status, 401, "{wrong:?}");
        assert!(answer.headers.contains("www-authenticate: bearer"));
        assert_eq!(serving.request("GET", "/metrics", &wrong, "").status, 401);
        let page = serving.request("GET", "/jobs", &wrong, "");
        let to = "location: /sign-in?to=%2fjobs";
        assert!(page.status == 303 && page.headers.contains(to), "{page:?}");
    }
    // Health is anybody's to ask, and webhooks have secrets of their own.
    assert_eq!(serving.get("/healthz").status, 200);
    let event = event("lead-1", 0, "lead.created");
    assert_eq!(serving.event("acme", &event).status, 202);
    signs_in_and_out(&serving);
    assert_eq!(serving.end("-TERM"), 0);
}

/// A session is as good as the token that began it.
fn signs_in_and_out(serving: &Serving) {
    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let sign_in = |token: &str| {
        let body = format!("to=%2Fjobs&token={}", token.replace(' ', "+"));
        serving.request("POST", "/sign-in", form, &body)
    };
    let refused = sign_in(&TOKEN[1..]);
    assert_eq!(refused.status, 401);
    assert!(!refused.headers.contains("set-cookie"), "{refused:?}");
    let welcome = sign_in(TOKEN);
    assert_eq!(welcome.status, 303, "{welcome:?}");
    assert!(welcome.headers.contains("location: /jobs\r\n"));
    let cookie = welcome.headers.lines().find_map(|line| {
        let set = line.strip_prefix("set-cookie: ")?;
        Some(set.split(';').next()?.to_owned())
    });
    let cookie = cookie.expect("a session");
    let page = |cookie: &str| {
        let headers = format!("cookie: {cookie}\r\n");
        serving.request("GET", "/jobs", &headers, "")
    };
    assert_eq!(page(&cookie).status, 200);
    let shows = |_look| page(&cookie).body.contains("lead-1");
    assert!((0..3_000).any(shows), "{}", page(&cookie).body);
    let forged = cookie.replacen('.', "0.", 1);
    assert_eq!(page(&forged).status, 303, "{forged}");
    // Another site's page has the browser send the cookie along, and knows no more.
    let deed = "deed=redrive&letters=all&sure=yes";
    let headers = format!("cookie: {cookie}\r\n{form}");
    assert_eq!(serving.request("POST", "/act", &headers, deed).status, 403);
}

/// What each token of a file sees, and may do.
#[test]
fn tokens_of_a_file_do_what_they_say() {
    let foldback = Foldback::new();
    let settings = settings(&foldback);
    let tokens = foldback.file(
        "tokens.toml",
        &format!(
            "[[token]]\nname = \"ann\"\ntoken = \"{ACME}\"\ntenant = \"acme\"\n\
             [[token]]\nname = \"bob\"\ntoken = \"{READER}\"\nread_only = true\n"
        ),
    );
    let args = ["--settings", &settings, "--token-file", &tokens];
    let environment = [("FOLDBACK_CONSOLE_TOKEN", TOKEN.to_owned())];
    let serving = Serving::start_with(&foldback, &args, &environment);
    for tenant in ["acme", "globex"] {
        let mut poison = event("lead-9", 0, "lead.created");
        poison["data"] = json!({"amount": "twelve", "note": format!("kept of {tenant}")});
        assert_eq!(serving.event(tenant, &poison).status, 202);
    }
    let get = |token: &str, path: &str| serving.request("GET", path, &bearer(token), "");
    let failed = "/api/v1/jobs?state=failed";
    let parked = |_look| get(TOKEN, failed).body.matches("\"letter\"").count() == 2;
    assert!((0..3_000).any(parked), "{}", get(TOKEN, failed).body);

    let seen = |token: &str| {
        let body = get(token, failed).body;
        ["acme", "globex"].map(|tenant| body.contains(&format!("\"tenant\":\"{tenant}\"")))
    };
    assert_eq!(seen(TOKEN), [true, true]);
    assert_eq!(seen(READER), [true, true]);
    assert_eq!(seen(ACME), [true, false]);
    let job = "/job?tenant=globex&group=lead-9&source=%2F%2Fcrm&event=lead-9-0";
    assert!(get(READER, job).body.contains("kept of globex"));
    assert_eq!(get(ACME, job).status, 404);
    let own = get(ACME, &job.replace("globex", "acme"));
    assert!(own.body.contains("kept of acme"), "{own:?}");
    for of_all in ["/settings", "/audit", "/api/v1/settings", "/api/v1/audit"] {
        assert_eq!(get(READER, of_all).status, 200, "{of_all}");
        assert_eq!(get(ACME, of_all).status, 404, "{of_all}");
    }
    assert_eq!(
        [TOKEN, READER, ACME].map(|token| get(token, "/metrics").status),
        [200, 200, 401]
    );
    they_do_what_they_may(&serving);
    assert_eq!(serving.end("-TERM"), 0);

    // With --read-only nobody changes anything.
    let args = [&args[..], &["--read-only"]].concat();
    let serving = Serving::start_with(&foldback, &args, &environment);
    for token in [TOKEN, ACME, READER] {
        let answer = act(&serving, token, "redrive");
        assert_eq!(answer.status, 403, "{answer:?}");
    }
    assert_eq!(serving.end("-TERM"), 0);
}

fn act(serving: &Serving, token: &str, deed: &str) -> Answer {
    let headers = format!("content-type: application/json\r\n{}", bearer(token));
    let body = json!({"deed": deed, "letters": "all"}).to_string();
    serving.request("POST", "/api/v1/act", &headers, &body)
}

/// The reader does nothing; Ann throws away what is her tenant's, and no more; each deed has a name to it.
fn they_do_what_they_may(serving: &Serving) {
    let left = || {
        let body = serving.request("GET", "/api/v1/jobs?state=failed", &bearer(TOKEN), "");
        ["acme", "globex"].map(|tenant| body.body.contains(&format!("\"tenant\":\"{tenant}\"")))
    };
    let refused = act(serving, READER, "discard");
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(left(), [true, true]);
    let done = act(serving, ACME, "discard");
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(left(), [false, true]);
    let audit = serving.request("GET", "/api/v1/audit", &bearer(TOKEN), "");
    let audit: Value = serde_json::from_str(&audit.body).expect("JSON");
    let records = audit.get("records").and_then(Value::as_array);
    let records = records.expect("records").iter();
    let deeds = records.map(|one| (one.get("by"), one.get("tenant"), one.get("deed")));
    let (ann, acme, discard) = (json!("ann"), json!("acme"), json!("discard"));
    let expected = (Some(&ann), Some(&acme), Some(&discard));
    assert_eq!(deeds.collect::<Vec<_>>(), [expected]);
}
