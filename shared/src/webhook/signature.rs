//! Standard Webhooks signatures
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use sha2::Sha256;

use crate::model::{Secret, Timestamp};

/// How far the time of signing may lie from the present, both ways, in milliseconds.
pub const TOLERANCE_MS: i64 = 300_000;
/// The fewest bytes a key may have, as the specification asks.
const KEY_BYTES_MIN: usize = 24;
/// The most signatures of one request that are looked at.
const SIGNATURES_MAX: usize = 16;

/// Padding may be left out: senders do.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A key that requests are signed with. Nothing prints it.
pub struct Key(Hmac<Sha256>);

/// A secret that is no key. Says nothing of the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not base64 after `whsec_`.
    #[error("the secret is not \"whsec_\" and base64, as Standard Webhooks has them")]
    Base64,
    /// Too easily guessed.
    #[error("the secret has fewer than {KEY_BYTES_MIN} bytes")]
    Short,
}

/// Why a request counts as unsigned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is missing.
    #[error(
        "header {0} is missing; sign requests as of Standard Webhooks: webhook-id, \
         webhook-timestamp and webhook-signature"
    )]
    Missing(&'static str),
    /// A header is there but says nothing that can be read.
    #[error("header {0} is not {1}")]
    Unreadable(&'static str, &'static str),
    /// Signed too long ago.
    #[error(
        "webhook-timestamp is {0} seconds in the past, and at most {max} are taken; sign each \
         attempt anew, and check the sender's clock",
        max = TOLERANCE_MS / 1_000
    )]
    TooOld(i64),
    /// Signed in the future.
    #[error(
        "webhook-timestamp is {0} seconds in the future, and at most {max} are taken; check the \
         sender's clock",
        max = TOLERANCE_MS / 1_000
    )]
    TooNew(i64),
    /// No signature is that of a key.
    #[error(
        "no v1 signature in webhook-signature is that of this request with the tenant's secret; \
         what is signed is the id, the timestamp and the body as sent, joined by dots"
    )]
    Wrong,
}

impl Key {
    /// The key of a secret `whsec_<base64>`; the prefix may be left out.
    ///
    /// # Errors
    /// The secret is no key.
    pub fn new(secret: &Secret) -> Result<Self, KeyError> {
        let text = secret.reveal().trim();
        let text = text.strip_prefix("whsec_").unwrap_or(text);
        let bytes = BASE64.decode(text).map_err(|_told| KeyError::Base64)?;
        if bytes.len() < KEY_BYTES_MIN {
            return Err(KeyError::Short);
        }
        // A key of HMAC may have any length.
        let mac = Hmac::new_from_slice(&bytes).map_err(|_never| KeyError::Short)?;
        Ok(Self(mac))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// What a request says about its signing, read before any secret is asked for.
#[derive(Debug)]
pub struct Signatures<'a> {
    id: &'a str,
    timestamp: &'a str,
    /// Of version `v1`, decoded; other versions are passed over.
    v1: Vec<Vec<u8>>,
}

impl<'a> Signatures<'a> {
    /// Reads the headers and checks the time of signing.
    ///
    /// # Errors
    /// A header is missing or not readable, or the time lies too far from `now`.
    pub fn read(headers: &'a HeaderMap, now: Timestamp) -> Result<Self, SignatureError> {
        let id = header(headers, "webhook-id")?;
        let timestamp = header(headers, "webhook-timestamp")?;
        let signature = header(headers, "webhook-signature")?;
        let unreadable =
            SignatureError::Unreadable("webhook-timestamp", "a number of seconds since 1970");
        if timestamp.is_empty() || !timestamp.bytes().all(|b| b.is_ascii_digit()) {
            return Err(unreadable);
        }
        let seconds: i64 = timestamp.parse().map_err(|_told| unreadable)?;
        let age_ms = now.ms().saturating_sub(seconds.saturating_mul(1_000));
        if age_ms > TOLERANCE_MS {
            return Err(SignatureError::TooOld(age_ms / 1_000));
        }
        if age_ms < -TOLERANCE_MS {
            return Err(SignatureError::TooNew(age_ms.saturating_neg() / 1_000));
        }
        let v1 = signature
            .split_ascii_whitespace()
            .filter_map(|one| one.strip_prefix("v1,"))
            .filter_map(|one| BASE64.decode(one).ok())
            .take(SIGNATURES_MAX);
        Ok(Self {
            id,
            timestamp,
            v1: v1.collect(),
        })
    }

    /// Whether one of the signatures is that of the body with this key. Each is compared in a time that
    /// says nothing of how much of it is right.
    #[must_use]
    pub fn are_of(&self, key: &Key, body: &[u8]) -> bool {
        let mut mac = key.0.clone();
        for part in [
            self.id.as_bytes(),
            b".",
            self.timestamp.as_bytes(),
            b".",
            body,
        ] {
            mac.update(part);
        }
        let mut signed = self.v1.iter();
        signed.any(|one| mac.clone().verify_slice(one).is_ok())
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, SignatureError> {
    let value = headers.get(name).ok_or(SignatureError::Missing(name))?;
    let text = value.to_str();
    text.map_err(|_told| SignatureError::Unreadable(name, "plain ASCII text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the specification's libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const BODY: &str = r#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const SIGNED_MS: i64 = 1_614_265_330_000;
    const SIGNED: [(&str, &str); 3] = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", SIGNATURE),
    ];
    const OTHER: &str = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc=";

    /// What becomes of the public example with one header changed (taken away where empty).
    #[track_caller]
    fn check(changed: (&str, &str), secret: &str, body: &str, late_ms: i64, expect: &str) {
        let mut headers = HeaderMap::new();
        for (name, value) in SIGNED {
            let value = if name == changed.0 { changed.1 } else { value };
            if !value.is_empty() {
                headers.insert(name, value.parse().expect("a header"));
            }
        }
        let now = Timestamp::from_ms(SIGNED_MS + late_ms);
        let got = match (
            Signatures::read(&headers, now),
            Key::new(&Secret::new(secret)),
        ) {
            (Ok(signatures), Ok(key)) if signatures.are_of(&key, body.as_bytes()) => {
                "signed".into()
            }
            (Ok(_), Ok(_)) => "wrong".to_owned(),
            (Err(error), _) => error.to_string(),
            (_, Err(error)) => error.to_string(),
        };
        assert!(got.starts_with(expect), "{changed:?}: {got}");
    }

    #[test]
    fn the_public_example_is_signed_and_nothing_near_it() {
        check(("", ""), SECRET, BODY, 0, "signed");
        check(("", ""), &SECRET[6..], BODY, 0, "signed");
        check(("", ""), &format!("{SECRET}\n"), BODY, 0, "signed");
        check(("", ""), SECRET, r#"{"test": 2432232315}"#, 0, "wrong");
        check(("", ""), SECRET, &format!("{BODY}\n"), 0, "wrong");
        check(("webhook-id", "msg_x"), SECRET, BODY, 0, "wrong");
        check(
            ("webhook-timestamp", "1614265331"),
            SECRET,
            BODY,
            0,
            "wrong",
        );
        check(
            ("webhook-timestamp", "01614265330"),
            SECRET,
            BODY,
            0,
            "wrong",
        );
        let other = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
        check(("", ""), other, BODY, 0, "wrong");
    }

    #[test]
    fn any_signature_of_a_known_version_will_do() {
        let signature = |text: &str, expect: &str| {
            check(("webhook-signature", text), SECRET, BODY, 0, expect);
        };
        signature(&format!("{OTHER} {SIGNATURE}"), "signed");
        signature(&format!("v1a,xyz v2,abc {SIGNATURE} v1,"), "signed");
        signature(&SIGNATURE.replace('=', ""), "signed");
        signature(OTHER, "wrong");
        signature(&SIGNATURE.replace("v1,", "v2,"), "wrong");
        signature(&SIGNATURE.replace("v1,", ""), "wrong");
        signature("v1,", "wrong");
        signature("v1,!!", "wrong");
        signature(&SIGNATURE[..20], "wrong");
        signature(
            &format!("{}{SIGNATURE}", format!("{OTHER} ").repeat(16)),
            "wrong",
        );
    }

    #[test]
    fn the_time_of_signing_is_near() {
        check(("", ""), SECRET, BODY, 300_000, "signed");
        check(("", ""), SECRET, BODY, -300_000, "signed");
        check(
            ("", ""),
            SECRET,
            BODY,
            301_000,
            "webhook-timestamp is 301 seconds in the past, and at most 300 are taken",
        );
        check(
            ("", ""),
            SECRET,
            BODY,
            -301_000,
            "webhook-timestamp is 301 seconds in the future",
        );
        let far = ("webhook-timestamp", "9223372036854775807");
        check(far, SECRET, BODY, 0, "webhook-timestamp is 9");
    }

    #[test]
    fn headers_are_there_and_readable() {
        for (name, _) in SIGNED {
            check(
                (name, ""),
                SECRET,
                BODY,
                0,
                &format!("header {name} is missing; sign"),
            );
        }
        for text in ["x", "-1614265330", "1614265330.5", "99999999999999999999"] {
            check(
                ("webhook-timestamp", text),
                SECRET,
                BODY,
                0,
                "header webhook-timestamp is not a number of seconds since 1970",
            );
        }
    }

    #[test]
    fn a_secret_that_is_no_key_says_so_and_no_more() {
        check(
            ("", ""),
            "whsec_!",
            BODY,
            0,
            "the secret is not \"whsec_\" and base64",
        );
        check(
            ("", ""),
            "whsec_",
            BODY,
            0,
            "the secret has fewer than 24 bytes",
        );
        check(
            ("", ""),
            "whsec_AAAA",
            BODY,
            0,
            "the secret has fewer than 24 bytes",
        );
        let key = Key::new(&Secret::new(SECRET)).expect("a key");
        assert_eq!(format!("{key:?}"), "Key");
    }
}
