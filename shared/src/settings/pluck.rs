use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use smol_str::SmolStr;

/// A JSON Pointer (RFC 6901) into an event's data or a webhook's body.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Pointer {
    text: SmolStr,
    steps: Vec<SmolStr>,
}

const STEPS_MAX: usize = 16;

impl TryFrom<String> for Pointer {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('/') else {
            return Err(format!("JSON Pointer {text:?} does not start with '/'"));
        };
        let mut steps = Vec::new();
        for step in path.split('/') {
            let unescaped = step.replace("~1", "/").replace("~0", "~");
            if step.replace("~1", "").replace("~0", "").contains('~') {
                return Err(format!(
                    "JSON Pointer {text:?}: '~' stands only before 0 or 1"
                ));
            }
            steps.push(SmolStr::from(unescaped));
        }
        if steps.len() > STEPS_MAX {
            return Err(format!(
                "JSON Pointer {text:?} is deeper than {STEPS_MAX} steps"
            ));
        }
        Ok(Self {
            text: text.into(),
            steps,
        })
    }
}

impl Pointer {
    pub(super) fn text(&self) -> &SmolStr {
        &self.text
    }

    /// The value at the pointer as it stands in the JSON text. Of two of one key, the last counts.
    pub(super) fn raw<'j>(&self, json: &'j str) -> Option<&'j str> {
        self.steps.iter().try_fold(json, |json, step| {
            let found = serde_json::Deserializer::from_str(json).deserialize_any(Member(step));
            found.ok().flatten().map(RawValue::get)
        })
    }
}

/// Finds one member of an object or an array.
struct Member<'s>(&'s str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            if key == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut index = 0_usize;
        while let Some(value) = seq.next_element::<&'de RawValue>()? {
            if found.is_none() && self.0 == index.to_string() {
                found = Some(value);
            }
            index += 1;
        }
        Ok(found)
    }
}

/// Several pointers compiled into one tree: all values are taken in one pass over the JSON text,
/// and nothing else of it is built.
#[derive(Debug, Clone, Default)]
pub(super) struct Pluck {
    root: Node,
    count: usize,
}

#[derive(Debug, Clone, Default)]
struct Node {
    slot: Option<usize>,
    children: Vec<(SmolStr, Node)>,
}

impl Node {
    fn child(&self, step: &str) -> Option<&Self> {
        self.children
            .iter()
            .find(|(name, _)| name == step)
            .map(|(_, node)| node)
    }

    /// Every slot at or below this node.
    fn clear(&self, found: &mut [Option<SmolStr>]) {
        if let Some(slot) = self.slot.and_then(|slot| found.get_mut(slot)) {
            *slot = None;
        }
        for (_, child) in &self.children {
            child.clear(found);
        }
    }
}

impl Pluck {
    /// The values come in the order of `pointers`; two equal pointers share the later place.
    pub(super) fn new(pointers: &[Pointer]) -> Self {
        let mut root = Node::default();
        for (slot, pointer) in pointers.iter().enumerate() {
            let mut node = &mut root;
            for step in &pointer.steps {
                let known = node.children.iter().position(|(name, _)| name == step);
                let index = known.unwrap_or_else(|| {
                    node.children.push((step.clone(), Node::default()));
                    node.children.len() - 1
                });
                let Some((_, next)) = node.children.get_mut(index) else {
                    break;
                };
                node = next;
            }
            node.slot = Some(slot);
        }
        Self {
            root,
            count: pointers.len(),
        }
    }

    /// The text at each pointer: strings unescaped, numbers and booleans as written, `None` for
    /// `null`, objects, arrays and what is not there.
    pub(super) fn all(&self, json: &str) -> Vec<Option<SmolStr>> {
        let mut found = vec![None; self.count];
        if self.count > 0 {
            let mut json = serde_json::Deserializer::from_str(json);
            // The text was read as JSON before, so this cannot fail on syntax.
            if (Walk {
                node: &self.root,
                found: &mut found,
            })
            .deserialize(&mut json)
            .is_err()
            {
                found.fill(None);
            }
        }
        found
    }

    /// The text at the first pointer.
    pub(super) fn one(&self, json: &str) -> Option<SmolStr> {
        self.all(json).into_iter().next().flatten()
    }
}

struct Walk<'n, 'f> {
    node: &'n Node,
    found: &'f mut [Option<SmolStr>],
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !self.node.children.is_empty() {
            return deserializer.deserialize_any(self);
        }
        let raw = <&'de RawValue>::deserialize(deserializer)?.get();
        let value = if raw.starts_with('"') {
            serde_json::from_str::<SmolStr>(raw).ok()
        } else {
            (raw != "null" && !raw.starts_with(['{', '['])).then(|| SmolStr::from(raw))
        };
        if let Some(slot) = self.node.slot.and_then(|slot| self.found.get_mut(slot)) {
            *slot = value;
        }
        Ok(())
    }
}

/// A node with children: looks into objects and arrays. A scalar here is not what was pointed at.
impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(child)) = map.next_key_seed(KeyOf(self.node))? {
            match child {
                Some(node) => {
                    node.clear(self.found);
                    map.next_value_seed(Walk {
                        node,
                        found: &mut *self.found,
                    })?;
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0_usize.. {
            let step = index.to_string();
            let more = match self.node.child(&step) {
                Some(node) => seq
                    .next_element_seed(Walk {
                        node,
                        found: &mut *self.found,
                    })?
                    .is_some(),
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_str<E>(self, _text: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _value: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _value: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _value: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _value: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

struct KeyOf<'n>(&'n Node);
struct Key<'n>(Option<&'n Node>);

impl<'de, 'n> DeserializeSeed<'de> for KeyOf<'n> {
    type Value = Key<'n>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key<'n>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for KeyOf<'n> {
    type Value = Key<'n>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E>(self, key: &str) -> Result<Key<'n>, E> {
        Ok(Key(self.0.child(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pointers: &[&str], json: &str, expect: &[Option<&str>]) {
        let pointers: Vec<Pointer> = pointers
            .iter()
            .map(|p| Pointer::try_from((*p).to_owned()).expect("a pointer"))
            .collect();
        let got = Pluck::new(&pointers).all(json);
        let got: Vec<Option<&str>> = got.iter().map(|value| value.as_deref()).collect();
        assert_eq!(got, expect, "{json}");
    }

    #[test]
    fn takes_the_scalars_pointed_at() {
        let json = r#"{"a":1.50,"b":{"c":"x\"y","d":[true,{"e":"deep"}]},"n":null,"a/b":"s"}"#;
        check(&["/a", "/b/c"], json, &[Some("1.50"), Some("x\"y")]);
        check(
            &["/b/d/1/e", "/b/d/0", "/b/d/7"],
            json,
            &[Some("deep"), Some("true"), None],
        );
        check(
            &["/n", "/b", "/a/x", "/a~1b", "/z"],
            json,
            &[None, None, None, Some("s"), None],
        );
        check(&["/a"], "[1]", &[None]);
        check(&["/0"], "[1]", &[Some("1")]);
        check(&["/a"], r#"{"a":1,"a":2}"#, &[Some("2")]);
        check(&["/a/b"], r#"{"a":{"b":1},"a":2}"#, &[None]);
    }

    #[test]
    fn takes_whole_values() {
        let raw = |pointer: &str| {
            Pointer::try_from(pointer.to_owned())
                .expect("a pointer")
                .raw(r#"{"a":{"b":[1,{"c" : null}]},"d":"x","d":"y","e/f":{}}"#)
        };
        assert_eq!(raw("/a/b"), Some(r#"[1,{"c" : null}]"#));
        assert_eq!(raw("/a/b/1/c"), Some("null"));
        assert_eq!(raw("/d"), Some(r#""y""#));
        assert_eq!(raw("/e~1f"), Some("{}"));
        assert_eq!((raw("/a/b/2"), raw("/d/x"), raw("/z")), (None, None, None));
    }

    #[test]
    fn refuses_what_is_no_pointer() {
        assert!(Pointer::try_from("a".to_owned()).is_err());
        assert!(Pointer::try_from("/a~2".to_owned()).is_err());
    }
}
