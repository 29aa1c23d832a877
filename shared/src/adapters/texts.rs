//! The texts of events in a file or a stream: one a line, or JSON documents.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Cursor, Read};
use std::rc::Rc;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::model::cloud_event::{EVENT_BYTES_MAX, is_cut_off};

/// The text of one event, as it stands in the input.
#[derive(Debug, PartialEq, Eq)]
pub struct Item<'t> {
    /// The line it begins on, from 1.
    pub line: u64,
    /// What was read.
    pub text: Text<'t>,
}

/// What was read of an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Text<'t> {
    /// All of it.
    Whole(&'t [u8]),
    /// Its beginning; it is longer than an event may be.
    TooLong(&'t [u8]),
    /// Nothing that could be read as JSON; says why the rest of the input is left out.
    Broken(String),
}

/// An open input. Events come one a line, or as JSON documents over any number of lines, each an
/// event or an array of events.
pub struct Reader {
    plain: Box<dyn BufRead>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

impl Reader {
    /// The events of what is read from `plain`. However long it is, no more than a few events are in memory.
    #[must_use]
    pub fn new(plain: Box<dyn BufRead>) -> Self {
        Self { plain }
    }

    /// Gives every event's text to `take`, until that says to stop by returning `false`.
    ///
    /// # Errors
    /// The input cannot be read, or an array goes on and on without an event.
    pub fn each(self, mut take: impl FnMut(Item<'_>) -> bool) -> io::Result<()> {
        let mut lines = Lines {
            plain: self.plain,
            line: 0,
            text: Vec::new(),
        };
        // Whether this is one event a line shows in the first lines: a document starts an array, or
        // an object that goes on below.
        while lines.next()? && lines.text.trim_ascii().is_empty() {}
        let before = lines.line.saturating_sub(1);
        let mut head = lines.text.clone();
        head.push(b'\n');
        let first = lines.text.trim_ascii();
        let mut documents = first.starts_with(b"[");
        if first.starts_with(b"{") && !lines.too_long() && is_cut_off(first) && lines.next()? {
            documents = !lines.text.trim_ascii().starts_with(b"{");
            head.extend_from_slice(&lines.text);
            head.push(b'\n');
        }
        let plain = Cursor::new(head).chain(lines.plain);
        if documents {
            return Documents::new(plain, before).each(&mut take);
        }
        let mut lines = Lines {
            plain,
            line: before,
            text: Vec::new(),
        };
        while lines.next()? {
            let text = lines.text.trim_ascii();
            if text.is_empty() {
                continue;
            }
            let text = if lines.too_long() {
                Text::TooLong(text)
            } else {
                Text::Whole(text)
            };
            if !take(Item {
                line: lines.line,
                text,
            }) {
                break;
            }
        }
        Ok(())
    }
}

/// Lines of bounded length: of a longer one the beginning is kept and the rest passed over.
struct Lines<R> {
    plain: R,
    line: u64,
    text: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Reads the next line; `false` at the end.
    fn next(&mut self) -> io::Result<bool> {
        self.text.clear();
        let mut any = false;
        loop {
            let buffer = self.plain.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            any = true;
            let end = memchr::memchr(b'\n', buffer);
            let part = buffer
                .get(..end.unwrap_or(buffer.len()))
                .unwrap_or_default();
            let room = (EVENT_BYTES_MAX + 1).saturating_sub(self.text.len());
            self.text
                .extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
            let used = part.len() + usize::from(end.is_some());
            self.plain.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.line += u64::from(any);
        Ok(any)
    }

    fn too_long(&self) -> bool {
        self.text.len() > EVENT_BYTES_MAX
    }
}

/// JSON documents, read value by value.
struct Documents<R> {
    plain: Metered<R>,
    meter: Rc<Meter>,
}

/// Where a document reader stands, and how much it has read since the last event.
struct Meter {
    lines: Cell<u64>,
    since_event: Cell<usize>,
}

/// White space and punctuation around an event do not count as the event's.
const DOCUMENT_EVENT_BYTES_MAX: usize = 2 * EVENT_BYTES_MAX;

struct Metered<R> {
    plain: R,
    meter: Rc<Meter>,
}

impl<R: BufRead> BufRead for Metered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.plain.fill_buf()
    }

    fn consume(&mut self, used: usize) {
        self.plain.consume(used);
    }
}

impl<R: BufRead> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let since = self.meter.since_event.get();
        if since > DOCUMENT_EVENT_BYTES_MAX {
            return Err(io::Error::other("an event is longer than any may be"));
        }
        let read = self.plain.read(buffer)?;
        let lines = memchr::memchr_iter(b'\n', buffer.get(..read).unwrap_or_default()).count();
        self.meter.lines.set(self.meter.lines.get() + lines as u64);
        self.meter.since_event.set(since + read);
        Ok(read)
    }
}

impl<R: BufRead> Metered<R> {
    /// The first byte of the next document; `None` at the end.
    fn next_document(&mut self) -> io::Result<Option<u8>> {
        loop {
            match self.fill_buf()?.first() {
                None => return Ok(None),
                Some(b' ' | b'\t' | b'\r' | b'\n') => {
                    self.read_exact(&mut [0])?;
                    self.meter.since_event.set(0);
                }
                Some(first) => return Ok(Some(*first)),
            }
        }
    }
}

impl<R: BufRead> Documents<R> {
    fn new(plain: R, lines_before: u64) -> Self {
        let meter = Rc::new(Meter {
            lines: Cell::new(lines_before),
            since_event: Cell::default(),
        });
        Self {
            plain: Metered {
                plain,
                meter: Rc::clone(&meter),
            },
            meter,
        }
    }

    fn each(self, take: &mut dyn FnMut(Item<'_>) -> bool) -> io::Result<()> {
        let Self { mut plain, meter } = self;
        let mut sink = Sink {
            take,
            meter: &meter,
            go_on: true,
        };
        while sink.go_on
            && let Some(first) = plain.next_document()?
        {
            // A deserializer reads nothing beyond the bracket that ends an object or an array.
            let mut json = serde_json::Deserializer::from_reader(&mut plain);
            let read = if first == b'[' {
                json.deserialize_seq(&mut sink)
            } else {
                Box::<RawValue>::deserialize(&mut json).map(|event| sink.give(&event))
            };
            if let Err(error) = read {
                let why = format!("{error}; the rest of this input could not be read");
                let item = Item {
                    line: meter.lines.get() + 1,
                    text: Text::Broken(why),
                };
                (sink.take)(item);
                return Ok(());
            }
        }
        Ok(())
    }
}

struct Sink<'s> {
    take: &'s mut dyn FnMut(Item<'_>) -> bool,
    meter: &'s Meter,
    go_on: bool,
}

impl Sink<'_> {
    fn give(&mut self, event: &RawValue) {
        self.meter.since_event.set(0);
        let text = event.get().as_bytes();
        let within = memchr::memchr_iter(b'\n', text).count() as u64;
        let line = (self.meter.lines.get() + 1).saturating_sub(within);
        if self.go_on {
            let text = if text.len() > EVENT_BYTES_MAX {
                Text::TooLong(text)
            } else {
                Text::Whole(text)
            };
            self.go_on = (self.take)(Item { line, text });
        }
    }
}

impl<'de> Visitor<'de> for &mut Sink<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(event) = seq.next_element::<Box<RawValue>>()? {
            self.give(&event);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines and texts that an input gives.
    fn check(input: &str, expect: &[(u64, &str)]) {
        let reader = Reader::new(Box::new(Cursor::new(input.as_bytes().to_vec())));
        let mut got = Vec::new();
        let read = reader.each(|item| {
            let text = match item.text {
                Text::Whole(text) => String::from_utf8_lossy(text).into_owned(),
                Text::TooLong(text) => format!("too long: {}", text.len()),
                Text::Broken(why) => format!("broken: {why}"),
            };
            got.push((item.line, text));
            true
        });
        read.expect("readable");
        let got: Vec<(u64, &str)> = got
            .iter()
            .map(|(line, text)| (*line, text.as_str()))
            .collect();
        assert_eq!(got, expect, "{input}");
    }

    #[test]
    fn one_event_a_line() {
        check(
            "{\"a\":1}\n\n  {\"a\":2} \r\n",
            &[(1, "{\"a\":1}"), (3, "{\"a\":2}")],
        );
        check("{\"a\n{\"a\":2}\n", &[(1, "{\"a"), (2, "{\"a\":2}")]);
        check("nonsense\n{\"a\":2}", &[(1, "nonsense"), (2, "{\"a\":2}")]);
        check("", &[]);
        check("\n\n", &[]);
    }

    /// However many lines are empty, none of them is kept.
    #[test]
    fn empty_lines_before_the_first_event() {
        let empty = " \r\n".repeat(100_000);
        check(
            &format!("{empty}{{}}\n{{}}"),
            &[(100_001, "{}"), (100_002, "{}")],
        );
        check(
            &format!("{empty}[{{}},\n{{}}]"),
            &[(100_001, "{}"), (100_002, "{}")],
        );
    }

    #[test]
    fn documents_over_lines() {
        check(
            "[{\"a\":1},\n {\"a\": 2}]\n",
            &[(1, "{\"a\":1}"), (2, "{\"a\": 2}")],
        );
        check(
            "{\n \"a\": 1.50\n}\n{\"b\":2}",
            &[(1, "{\n \"a\": 1.50\n}"), (4, "{\"b\":2}")],
        );
        check("[1]\n[2]", &[(1, "1"), (2, "2")]);
    }

    #[test]
    fn what_is_too_long_is_cut_and_the_rest_goes_on() {
        let long = "x".repeat(EVENT_BYTES_MAX + 10);
        let kept = format!("too long: {}", EVENT_BYTES_MAX + 1);
        check(&format!("{long}\n{{}}"), &[(1, &kept), (2, "{}")]);
    }

    #[test]
    fn a_broken_document_says_so() {
        let reader = Reader {
            plain: Box::new(Cursor::new(b"[{\"a\":1},\n oops]".to_vec())),
        };
        let mut got = Vec::new();
        reader
            .each(|item| {
                got.push(format!("{:?}", item.text));
                true
            })
            .expect("readable");
        assert_eq!(got.len(), 2);
        assert!(
            got[1].contains("the rest of this input could not be read"),
            "{got:?}"
        );
    }
}
