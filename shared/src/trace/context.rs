use std::fmt;

use http::HeaderMap;

/// The id of a trace: 16 bytes, not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TraceId(pub u128);

/// The id of a span: 8 bytes, not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpanId(pub u64);

/// A place in a trace, as it is handed on.
///
/// W3C Trace Context, <https://www.w3.org/TR/trace-context/#traceparent-header>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

const TRACEPARENT: &str = "traceparent";
/// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>
const XRAY: &str = "x-amzn-trace-id";
/// The length of a header of version 00; later versions may go on after it.
const LENGTH: usize = 55;

impl TraceContext {
    /// Reads a `traceparent`; `None` where it is none, which is to be treated as if there were none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let known = text.get(..LENGTH)?;
        let mut parts = known.split('-');
        let version: u8 = hex(parts.next()?, 2)?;
        let trace = hex(parts.next()?, 32)?;
        let span = hex(parts.next()?, 16)?;
        let flags: u8 = hex(parts.next()?, 2)?;
        let goes_on = text.len() > LENGTH;
        let later = version > 0 && text.get(LENGTH..)?.starts_with('-');
        if version == u8::MAX || (goes_on && !later) {
            return None;
        }
        Self::new(trace, span, flags & 1 == 1)
    }

    /// Reads X-Ray's header. Where it leaves open whether the trace is recorded, it is.
    #[must_use]
    pub fn parse_xray(text: &str) -> Option<Self> {
        let (mut trace, mut span, mut sampled) = (None, None, true);
        for part in text.split(';') {
            match part.trim().split_once('=')? {
                ("Root", root) => {
                    let mut parts = root.split('-');
                    let (version, time, rest) = (parts.next()?, parts.next()?, parts.next()?);
                    if version != "1" {
                        return None;
                    }
                    let time: u128 = hex(time, 8)?;
                    let rest: u128 = hex(rest, 24)?;
                    trace = Some(time << 96 | rest);
                }
                ("Parent", parent) => span = hex(parent, 16),
                ("Sampled", flag) => sampled = flag != "0",
                _of_others => {}
            }
        }
        // Who begins a trace names no parent.
        let trace: u128 = trace?;
        Self::new(trace, span.unwrap_or(low(trace)), sampled)
    }

    /// The context that a request came with.
    #[must_use]
    pub fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let xray = || text(XRAY).and_then(Self::parse_xray);
        text(TRACEPARENT).and_then(Self::parse).or_else(xray)
    }

    /// As X-Ray and SQS's attribute `AWSTraceHeader` have it.
    #[must_use]
    pub fn xray(&self) -> String {
        let trace = self.trace.0;
        let (time, rest) = (trace >> 96, trace & (u128::MAX >> 32));
        let sampled = u8::from(self.sampled);
        format!(
            "Root=1-{time:08x}-{rest:024x};Parent={};Sampled={sampled}",
            self.span
        )
    }

    fn new(trace: u128, span: u64, sampled: bool) -> Option<Self> {
        (trace != 0 && span != 0).then_some(Self {
            trace: TraceId(trace),
            span: SpanId(span),
            sampled,
        })
    }
}

/// The lower half.
fn low(number: u128) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = number.to_le_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// Lower-case hexadecimal digits, so many.
fn hex<T: TryFrom<u128>>(text: &str, digits: usize) -> Option<T> {
    let legal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != digits || !text.bytes().all(legal) {
        return None;
    }
    T::try_from(u128::from_str_radix(text, 16).ok()?).ok()
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(f, "00-{}-{}-{flags:02x}", self.trace, self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// What a `traceparent` comes to, written again.
    fn check(text: &str, expect: Option<&str>) {
        let read = TraceContext::parse(text).map(|context| context.to_string());
        assert_eq!(read.as_deref(), expect, "{text}");
    }

    #[test]
    fn a_traceparent_is_read_as_the_standard_says() {
        check(PARENT, Some(PARENT));
        let unsampled = PARENT.replace("-01", "-00");
        check(&unsampled, Some(&unsampled));
        // Flags that are not known are not handed on.
        check(&PARENT.replace("-01", "-ff"), Some(PARENT));
        // Later versions may go on.
        check(&PARENT.replace("00-0a", "cc-0a"), Some(PARENT));
        check(
            &format!("{}-what", PARENT.replace("00-0a", "cc-0a")),
            Some(PARENT),
        );
        check(&format!("{}.what", PARENT.replace("00-0a", "cc-0a")), None);
        check(&format!("{PARENT}-what"), None);
        check(&PARENT.replace("00-0a", "ff-0a"), None);
        check(&PARENT.to_uppercase(), None);
        check(
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            None,
        );
        check(
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            None,
        );
        check("00-1-2-01", None);
        check("", None);
        check(&"ü".repeat(28), None);
    }

    /// What X-Ray's header comes to, as a `traceparent`.
    fn check_xray(text: &str, expect: Option<&str>) {
        let read = TraceContext::parse_xray(text).map(|context| context.to_string());
        assert_eq!(read.as_deref(), expect, "{text}");
    }

    #[test]
    fn the_header_of_xray_is_another_way_to_say_it() {
        let root = "Root=1-0af76519-16cd43dd8448eb211c80319c";
        check_xray(
            &format!("{root};Parent=b7ad6b7169203331;Sampled=1"),
            Some(PARENT),
        );
        check_xray(
            &format!("Self=1-2-3; {root}"),
            Some("00-0af7651916cd43dd8448eb211c80319c-8448eb211c80319c-01"),
        );
        check_xray("Root=2-0af76519-16cd43dd8448eb211c80319c", None);
        check_xray("Sampled=1", None);
        check_xray("", None);
        let context = TraceContext::parse(PARENT).expect("a context");
        assert_eq!(TraceContext::parse_xray(&context.xray()), Some(context));
    }

    #[test]
    fn of_both_headers_the_standard_one_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(TraceContext::of_headers(&headers), None);
        headers.insert(
            XRAY,
            "Root=1-0af76519-16cd43dd8448eb211c80319c"
                .parse()
                .expect("a value"),
        );
        let of_xray = TraceContext::of_headers(&headers).expect("a context");
        assert!(of_xray.sampled);
        headers.insert(TRACEPARENT, PARENT.parse().expect("a value"));
        assert_eq!(
            TraceContext::of_headers(&headers),
            TraceContext::parse(PARENT)
        );
        headers.insert(TRACEPARENT, "nonsense".parse().expect("a value"));
        assert_eq!(TraceContext::of_headers(&headers), Some(of_xray));
    }
}
