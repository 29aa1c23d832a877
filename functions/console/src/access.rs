//! Who may see and do what.
//!
//! Locally people sign in with a token and get a session: a cookie that no other site's page can send
//! along (`SameSite=Strict`) and no script can read (`HttpOnly`). It is signed with a key that follows from
//! the token, so that it outlasts a restart and ends when the token is changed. Programs send the token
//! itself as `Authorization: Bearer`.

use std::fmt;

use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use shared::model::{Secret, Timestamp};
use smol_str::SmolStr;

/// A shorter token could be guessed.
pub const TOKEN_CHARS_MIN: usize = 24;
/// How long a session lasts.
const SESSION_SECONDS: i64 = 12 * 3_600;
const COOKIE_NAME: &str = "foldback";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A token and what it is good for.
#[derive(Debug, Clone)]
pub struct Token {
    /// Whose it is: the name in audit records.
    pub name: SmolStr,
    /// The token itself.
    pub secret: Secret,
    /// Sees this tenant alone; every tenant where it is `None`.
    pub tenant: Option<SmolStr>,
    /// May change nothing.
    pub read_only: bool,
}

impl Token {
    /// The tokens of a text in TOML: `[[token]]` with `name`, `token`, and if wanted `tenant` and `read_only`.
    ///
    /// # Errors
    /// The text is none of that; the reason shows no token.
    pub fn read_all(text: &str) -> Result<Vec<Self>, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Tokens {
            token: Vec<Line>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Line {
            name: SmolStr,
            token: String,
            tenant: Option<SmolStr>,
            #[serde(default)]
            read_only: bool,
        }
        // The error as a whole would show the line.
        let tokens: Tokens = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let token = |line: Line| Self {
            name: line.name,
            secret: Secret::new(line.token),
            tenant: line.tenant,
            read_only: line.read_only,
        };
        Ok(tokens.token.into_iter().map(token).collect())
    }

    /// A token that sees all tenants and may do all.
    #[must_use]
    pub fn of_everything(secret: Secret) -> Self {
        Self {
            name: "console".into(),
            secret,
            tenant: None,
            read_only: false,
        }
    }
}

/// Who stands behind a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The name in audit records.
    pub name: SmolStr,
    /// The one tenant that may be seen; all of them where it is `None`.
    pub tenant: Option<SmolStr>,
    /// May change nothing.
    pub read_only: bool,
    /// What a form must bring along; nobody else's page knows it.
    pub csrf: String,
    /// How they came in.
    pub by: By,
}

/// How a request shows who stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// By a session's cookie, which a browser sends by itself.
    Session,
    /// By the token in the request, which nothing sends by itself.
    Bearer,
    /// By reaching this server at all.
    Reach,
}

/// Who is let in without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Nobody.
    Tokens,
    /// Whoever is on this machine, and asks for it by a name of this machine's own.
    Loopback,
    /// Whoever gets through: something before this server checks (IAM).
    Guarded,
}

/// The rules of access.
pub struct Access {
    tokens: Vec<Known>,
    door: Door,
    read_only: bool,
    /// Cookies are sent over TLS alone.
    secure: bool,
    /// Signs what no token does.
    secret: [u8; 32],
}

struct Known {
    token: Token,
    /// Names the token in a session without giving it away.
    id: String,
    key: [u8; 32],
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self
            .tokens
            .iter()
            .map(|one| one.token.name.as_str())
            .collect();
        f.debug_struct("Access")
            .field("tokens", &names)
            .field("door", &self.door)
            .finish_non_exhaustive()
    }
}

impl Access {
    /// Rules for these tokens. `secret` must be one that nobody can guess.
    ///
    /// # Errors
    /// A token is too short, or two are the same; says which.
    pub fn new(tokens: Vec<Token>, door: Door, secret: [u8; 32]) -> Result<Self, String> {
        let mut known: Vec<Known> = Vec::with_capacity(tokens.len());
        for token in tokens {
            let text = token.secret.reveal();
            if text.chars().count() < TOKEN_CHARS_MIN {
                let name = &token.name;
                return Err(format!(
                    "the token {name:?} has fewer than {TOKEN_CHARS_MIN} characters: it could be guessed"
                ));
            }
            let id = hex(&digest("id", text))[..16].to_owned();
            let key = digest("session", text);
            if let Some(same) = known.iter().find(|one| one.id == id) {
                let (one, other) = (&same.token.name, &token.name);
                return Err(format!("{one:?} and {other:?} have the same token"));
            }
            known.push(Known { token, id, key });
        }
        Ok(Self {
            tokens: known,
            door,
            read_only: false,
            secure: false,
            secret,
        })
    }

    /// The same, and nobody may change anything.
    #[must_use]
    pub fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// The same, with cookies that are sent over TLS alone.
    #[must_use]
    pub fn secure(self, secure: bool) -> Self {
        Self { secure, ..self }
    }

    /// Whether there are tokens to sign in with.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Who stands behind a request; `None` where that is nobody who is let in.
    #[must_use]
    pub fn who(&self, headers: &HeaderMap, now: Timestamp) -> Option<Who> {
        if let Some(token) = bearer(headers) {
            let known = self.known(token)?;
            return Some(self.known_who(known, By::Bearer, ""));
        }
        if let Some(session) = cookie(headers)
            && let Some(known) = self.in_session(session, now)
        {
            return Some(self.known_who(known, By::Session, session));
        }
        let open = match self.door {
            Door::Tokens => false,
            // Another site's page may have had its name resolved to this machine.
            Door::Loopback => host(headers).is_some_and(is_own),
            Door::Guarded => true,
        };
        open.then(|| Who {
            name: match self.door {
                Door::Guarded => "iam".into(),
                Door::Tokens | Door::Loopback => "local".into(),
            },
            tenant: None,
            read_only: self.read_only,
            csrf: hex(&sign(&self.secret, "csrf")),
            by: By::Reach,
        })
    }

    /// The value of the cookie of a new session, for who has a token; `None` for who has none.
    #[must_use]
    pub fn sign_in(&self, token: &str, now: Timestamp) -> Option<String> {
        let known = self.known(token)?;
        let expires = now.ms() / 1_000 + SESSION_SECONDS;
        let told = format!("{}.{expires}", known.id);
        let session = format!("{told}.{}", hex(&sign(&known.key, &told)));
        Some(self.set_cookie(&session, SESSION_SECONDS))
    }

    /// The value of the cookie that ends a session.
    #[must_use]
    pub fn sign_out(&self) -> String {
        self.set_cookie("", 0)
    }

    fn set_cookie(&self, value: &str, seconds: i64) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!(
            "{COOKIE_NAME}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
        )
    }

    fn known(&self, token: &str) -> Option<&Known> {
        let id = digest("id", token);
        // By a hash, so that how long it takes says nothing of the token.
        let id = hex(&id);
        self.tokens
            .iter()
            .find(|one| id.starts_with(&one.id) && digest("session", token) == one.key)
    }

    fn known_who(&self, known: &Known, by: By, session: &str) -> Who {
        Who {
            name: known.token.name.clone(),
            tenant: known.token.tenant.clone(),
            read_only: self.read_only || known.token.read_only,
            csrf: hex(&sign(&known.key, &format!("csrf {session}"))),
            by,
        }
    }

    fn in_session(&self, session: &str, now: Timestamp) -> Option<&Known> {
        let (told, mac) = session.rsplit_once('.')?;
        let (id, expires) = told.split_once('.')?;
        let known = self.tokens.iter().find(|one| one.id == id)?;
        let mut check = Hmac::<Sha256>::new_from_slice(&known.key).ok()?;
        check.update(told.as_bytes());
        check.verify_slice(&unhex(mac)?).ok()?;
        let expires: i64 = expires.parse().ok()?;
        (now.ms() / 1_000 < expires).then_some(known)
    }
}

impl Who {
    /// Whether the tenant may be seen.
    #[must_use]
    pub fn sees(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|own| own == tenant)
    }

    /// Whether a form that changes something comes from a page of ours: it brings what only such a page
    /// knows, and the browser does not say otherwise.
    #[must_use]
    pub fn trusts(&self, headers: &HeaderMap, csrf: &str) -> bool {
        if self.by == By::Bearer {
            return true;
        }
        let same = csrf.len() == self.csrf.len()
            && csrf
                .bytes()
                .zip(self.csrf.bytes())
                .fold(0, |all, (a, b)| all | (a ^ b))
                == 0;
        same && is_same_origin(headers)
    }
}

/// Whether the browser says that the request comes from a page of this server, or says nothing.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text(&SEC_FETCH_SITE) {
        return site == "same-origin";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let origin = origin.to_str().unwrap_or_default();
    let origin = origin.split_once("://").map(|(_, host)| host);
    origin.is_some() && origin == host(headers)
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(HOST)?.to_str().ok()
}

/// Whether a host is a name of this machine's own.
fn is_own(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(COOKIE).iter();
    let pairs = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE_NAME).then_some(value))
}

fn digest(what: &str, text: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(b"foldback console ");
    hasher.update(what.as_bytes());
    hasher.update([0]);
    hasher.update(text.as_bytes());
    hasher.finalize().into()
}

fn sign(key: &[u8; 32], text: &str) -> [u8; 32] {
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(text.as_bytes());
            mac.finalize().into_bytes().into()
        }
        Err(_any_length_will_do) => digest("unsigned", text),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const TOKEN: &str = "a token that is long enough";
    const NOW: i64 = 1_767_225_600_000;

    fn access(door: Door) -> Access {
        let token = |name: &str, secret: &str, tenant: Option<&str>| Token {
            name: name.into(),
            secret: Secret::new(secret.to_owned()),
            tenant: tenant.map(Into::into),
            read_only: false,
        };
        let tokens = vec![
            token("ops", TOKEN, None),
            token("acme", "another token, long enough too", Some("acme")),
        ];
        Access::new(tokens, door, [7; 32]).expect("good tokens")
    }

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).expect("a value"),
            )
        };
        all.iter().map(pair).collect()
    }

    #[test]
    fn who_is_let_in() {
        let check = |door, all: &[(&'static str, &str)], expect: Option<(&str, Option<&str>)>| {
            let who = access(door).who(&headers(all), Timestamp::from_ms(NOW));
            let who = who
                .as_ref()
                .map(|who| (who.name.as_str(), who.tenant.as_deref()));
            assert_eq!(who, expect, "{all:?}");
        };
        let bearer = format!("Bearer {TOKEN}");
        check(
            Door::Tokens,
            &[("authorization", &bearer)],
            Some(("ops", None)),
        );
        check(
            Door::Tokens,
            &[("authorization", "bearer another token, long enough too")],
            Some(("acme", Some("acme"))),
        );
        check(
            Door::Loopback,
            &[("authorization", "Bearer wrong"), ("host", "localhost")],
            None,
        );
        check(Door::Tokens, &[("host", "localhost")], None);
        check(
            Door::Loopback,
            &[("host", "localhost:8080")],
            Some(("local", None)),
        );
        check(
            Door::Loopback,
            &[("host", "127.0.0.1:8080")],
            Some(("local", None)),
        );
        check(
            Door::Loopback,
            &[("host", "[::1]:8080")],
            Some(("local", None)),
        );
        // Somebody else's name, resolved to this machine.
        check(Door::Loopback, &[("host", "evil.example:8080")], None);
        check(Door::Loopback, &[("host", "localhost.evil.example")], None);
        check(Door::Loopback, &[], None);
        check(Door::Guarded, &[], Some(("iam", None)));
    }

    #[test]
    fn a_session_lasts_its_time_and_cannot_be_made_up() {
        let access = access(Door::Tokens);
        let at = |ms: i64| Timestamp::from_ms(NOW + ms);
        assert_eq!(access.sign_in("wrong", at(0)), None);
        let set = access.sign_in(TOKEN, at(0)).expect("a token");
        for word in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(set.contains(word), "{set}");
        }
        assert!(!set.contains(TOKEN));
        let cookie = set.split(';').next().expect("a pair").to_owned();
        let who = |cookie: &str, ms: i64| access.who(&headers(&[("cookie", cookie)]), at(ms));
        assert_eq!(who(&cookie, 0).expect("in session").name, "ops");
        assert!(who(&format!("other=1; {cookie}"), SESSION_SECONDS * 1_000 - 1).is_some());
        assert!(who(&cookie, SESSION_SECONDS * 1_000).is_none());
        let longer = cookie.replacen(".17", ".18", 1);
        assert_ne!(longer, cookie);
        for forged in [
            longer.as_str(),
            "foldback=",
            "foldback=x.y.z",
            "foldback=....",
            "foldback",
        ] {
            assert!(who(forged, 0).is_none(), "{forged}");
        }
    }

    #[test]
    fn a_form_from_elsewhere_is_not_trusted() {
        let access = access(Door::Loopback);
        let own = headers(&[("host", "localhost:1")]);
        let who = access.who(&own, Timestamp::from_ms(NOW)).expect("local");
        let csrf = who.csrf.clone();
        let check = |all: &[(&'static str, &str)], csrf: &str, expect| {
            assert_eq!(who.trusts(&headers(all), csrf), expect, "{all:?} {csrf}");
        };
        let host = ("host", "localhost:1");
        check(&[host], &csrf, true);
        check(&[host], "", false);
        check(
            &[host],
            &csrf.replace(|c: char| c.is_ascii_digit(), "0"),
            false,
        );
        check(&[host, ("origin", "http://localhost:1")], &csrf, true);
        check(&[host, ("origin", "http://evil.example")], &csrf, false);
        check(&[host, ("origin", "null")], &csrf, false);
        check(&[host, ("sec-fetch-site", "same-origin")], &csrf, true);
        check(&[host, ("sec-fetch-site", "cross-site")], &csrf, false);
        check(&[host, ("sec-fetch-site", "same-site")], &csrf, false);
    }

    #[test]
    fn tokens_that_could_be_guessed_are_refused() {
        let token = |name: &str, secret: &str| Token {
            name: name.into(),
            secret: Secret::new(secret.to_owned()),
            tenant: None,
            read_only: false,
        };
        let new = |tokens| {
            Access::new(tokens, Door::Tokens, [0; 32])
                .err()
                .unwrap_or_default()
        };
        assert!(new(vec![token("a", "short")]).contains("fewer than 24"));
        let same = new(vec![token("a", TOKEN), token("b", TOKEN)]);
        assert_eq!(same, "\"a\" and \"b\" have the same token");
    }
}
