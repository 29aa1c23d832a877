//! The console: addresses, forms and cookies, as strangers and other sites' pages may send them.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::{Body, to_bytes};
use foldback_console::{Access, By, Door, Token, router};
use futures_util::FutureExt as _;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use shared::model::{Secret, Timestamp};
use tower::ServiceExt as _;

use super::shop::{NOW_MS, OF_GLOBEX, Shop};
use super::{head_and_body, headers};

const ALL: &str = "a token that may see all of it";
const ACME: &str = "a token that may see acme alone";
const READER: &str = "a token that may change nothing";
const BROWSER: &str = "a token that is never sent by itself";

/// The longest answer, in bytes.
const ANSWER_MAX: usize = 64 << 20;

fn access(door: Door) -> Access {
    let token = |name: &str, secret: &str, tenant: Option<&str>| Token {
        name: name.into(),
        secret: Secret::new(secret.to_owned()),
        tenant: tenant.map(Into::into),
        read_only: name == "reader",
    };
    let tokens = vec![
        token("ops", ALL, None),
        token("acme", ACME, Some("acme")),
        token("reader", READER, None),
        token("browser", BROWSER, None),
    ];
    Access::new(tokens, door, [7; 32]).expect("good tokens")
}

thread_local! {
    static CONSOLE: Router = router(Shop::open(), Arc::clone(&GATES.0));
}

/// Made once: the hashes of tokens take longer than most inputs do.
static GATES: LazyLock<(Arc<Access>, Access)> =
    LazyLock::new(|| (Arc::new(access(Door::Tokens)), access(Door::Loopback)));

/// The cookie of a session that is one: its name, what it says, and its signature.
static SESSION: LazyLock<String> = LazyLock::new(|| {
    let set = GATES.0.sign_in(BROWSER, now());
    let set = set.expect("a token that is known");
    set.split(';').next().unwrap_or_default().to_owned()
});

fn now() -> Timestamp {
    Timestamp::from_ms(NOW_MS)
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asking {
    Stranger,
    Bearer(&'static str),
    Session,
}

const ASKING: [Asking; 5] = [
    Asking::Stranger,
    Asking::Bearer(ALL),
    Asking::Bearer(ACME),
    Asking::Bearer(READER),
    Asking::Session,
];

/// Sends a request; `None` where it could not be one.
fn send(
    asking: Asking,
    method: Method,
    address: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Option<(Response<()>, Vec<u8>)> {
    let request = Request::builder().method(method).uri(address);
    let mut request = request.body(Body::from(body.to_vec())).ok()?;
    *request.headers_mut() = headers.clone();
    request.headers_mut().remove(AUTHORIZATION);
    request.headers_mut().remove(COOKIE);
    let value = |text: &str| HeaderValue::from_str(text).expect("plain text");
    match asking {
        Asking::Stranger => {}
        Asking::Bearer(token) => {
            let bearer = value(&format!("Bearer {token}"));
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        Asking::Session => {
            request.headers_mut().insert(COOKIE, value(&SESSION));
        }
    }
    Some(answer(request))
}

fn answer(request: Request<Body>) -> (Response<()>, Vec<u8>) {
    let console = CONSOLE.with(Router::clone);
    // All is at hand: nothing waits, and nothing needs a runtime.
    let answer = console.oneshot(request).now_or_never();
    let answer = answer.expect("nothing to wait for").expect("an answer");
    let (head, body) = answer.into_parts();
    let body = to_bytes(body, ANSWER_MAX).now_or_never();
    let body = body.expect("nothing to wait for").expect("a body");
    (Response::from_parts(head, ()), body.to_vec())
}

/// What holds of every answer.
fn check(asking: Asking, head: &Response<()>, body: &[u8]) {
    let status = head.status();
    assert!(!status.is_server_error(), "{status}");
    let header = |name: &str| {
        let value = head.headers().get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    };
    let policy = header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let to = header("location");
    assert!(to.is_empty() || is_ours(to), "{to}");
    let text = std::str::from_utf8(body).expect("an answer is text");
    if header("content-type").starts_with("text/html") {
        check_markup(text);
    }
    if header("content-type").ends_with("json") {
        let json = serde_json::from_str::<serde::de::IgnoredAny>(text);
        assert!(json.is_ok(), "{text}");
    }
    let may_see = !matches!(asking, Asking::Stranger | Asking::Bearer(ACME));
    assert!(may_see || !text.contains(OF_GLOBEX), "told to {asking:?}");
}

/// A path of this server.
fn is_ours(address: &str) -> bool {
    address.starts_with('/') && !address.starts_with("//") && !address.starts_with("/\\")
}

/// Nothing that was sent became markup, and every address is one of this server.
fn check_markup(text: &str) {
    let scripts = text.matches("<script").count();
    let own = text.matches("<script src=\"/assets/").count();
    assert_eq!(scripts, own, "{text}");
    for never in ["<img", "<iframe", "<object", "<base", "<style"] {
        assert!(!text.contains(never), "{never}: {text}");
    }
    for attribute in [" href=\"", " action=\"", " src=\""] {
        for address in text.split(attribute).skip(1) {
            let fine = is_ours(address) || address.starts_with(['?', '#']);
            assert!(fine, "{attribute}{address}");
        }
    }
}

/// The first line is an address; then come headers. Whoever asks is shown a page or told why not.
pub(super) fn page(bytes: &[u8]) {
    let (head, _) = head_and_body(bytes);
    let Some((address, lines)) = head.split_first() else {
        return;
    };
    if !address.starts_with('/') {
        return;
    }
    let headers = headers(lines);
    for asking in ASKING {
        let Some((head, body)) = send(asking, Method::GET, address, &headers, b"") else {
            return;
        };
        check(asking, &head, &body);
    }
}

/// The first line is an address that takes forms, or the API's that takes JSON; then come headers, and the form.
/// What is done is [looked at](super::shop) where it is done.
pub(super) fn form(bytes: &[u8]) {
    let (head, body) = head_and_body(bytes);
    let Some((address, lines)) = head.split_first() else {
        return;
    };
    if !address.starts_with('/') {
        return;
    }
    let mut headers = headers(lines);
    if !headers.contains_key(CONTENT_TYPE) {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form);
    }
    for asking in ASKING {
        let Some((head, body)) = send(asking, Method::POST, address, &headers, body) else {
            return;
        };
        check(asking, &head, &body);
        // Only a token makes a session, and only where it is asked for.
        let sets = head.headers().get("set-cookie").is_some();
        assert!(!sets || address.starts_with("/sign-"), "{address}");
    }
}

/// Headers, as who wants to come in sends them. Nobody comes in who has no token and no session of ours.
pub(super) fn entry(bytes: &[u8]) {
    let (lines, _) = head_and_body(bytes);
    let mut headers = headers(&lines);
    let (tokens, loopback) = &*GATES;
    let told = SESSION.rsplit_once('.').map_or("", |(told, _)| told);
    let own = HeaderValue::from_str(&SESSION).expect("a cookie");
    let own = HeaderMap::from_iter([(COOKIE, own)]);
    assert!(tokens.who(&own, now()).is_some(), "{own:?}");
    let sent = |name, text: &str| {
        let mut values = headers.get_all(name).iter();
        values.any(|value| {
            value
                .as_bytes()
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        })
    };
    if let Some(who) = tokens.who(&headers, now()) {
        let all = [ALL, ACME, READER, BROWSER];
        let shown = match who.by {
            By::Session => sent(COOKIE, told),
            By::Bearer => all.into_iter().any(|token| sent(AUTHORIZATION, token)),
            By::Reach => false,
        };
        assert!(shown, "let in without either: {headers:?}");
        assert_eq!(who.trusts(&headers, ""), who.by == By::Bearer);
    }
    if let Some(who) = loopback.who(&headers, now()) {
        assert!(who.by != By::Reach || headers.contains_key(HOST));
    }
    // As old as it can get, no session counts.
    let old = Timestamp::from_ms(NOW_MS + 13 * 3_600_000);
    headers.remove(AUTHORIZATION);
    assert_eq!(tokens.who(&headers, old), None, "{headers:?}");
}
