use serde::Deserialize;
use smol_str::SmolStr;

/// An external event type, exact or with wildcards: each `*` takes any text, even none.
///
/// Every `*` but the last takes as little as it can; the last takes all up to the pattern's end.
/// There is no other syntax, so matching takes time linear in the text for each wildcard.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Pattern {
    text: SmolStr,
    /// The literal texts between the wildcards; one more than there are wildcards.
    literals: Vec<SmolStr>,
}

const WILDCARDS_MAX: usize = 8;

impl TryFrom<String> for Pattern {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let literals: Vec<SmolStr> = text.split('*').map(SmolStr::from).collect();
        if text.is_empty() || text.len() > 1024 || literals.len() > WILDCARDS_MAX + 1 {
            return Err(format!(
                "a type has 1 to 1024 bytes and at most {WILDCARDS_MAX} wildcards"
            ));
        }
        Ok(Self {
            text: text.into(),
            literals,
        })
    }
}

impl Pattern {
    pub(super) fn text(&self) -> &SmolStr {
        &self.text
    }

    pub(super) fn wildcards(&self) -> usize {
        self.literals.len() - 1
    }

    /// What each wildcard took, or `None` where the text does not match.
    pub(super) fn captures<'t>(&self, text: &'t str) -> Option<Vec<&'t str>> {
        let (first, rest) = self.literals.split_first()?;
        let mut left = text.strip_prefix(first.as_str())?;
        let Some((last, middle)) = rest.split_last() else {
            return left.is_empty().then(Vec::new);
        };
        let mut captures = Vec::with_capacity(rest.len());
        for literal in middle {
            let (taken, after) = left.split_once(literal.as_str())?;
            captures.push(taken);
            left = after;
        }
        captures.push(left.strip_suffix(last.as_str())?);
        Some(captures)
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        if self.literals.len() == 1 {
            self.text == text
        } else {
            self.captures(text).is_some()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str, expect: Option<&[&str]>) {
        let pattern = Pattern::try_from(pattern.to_owned()).expect("a pattern");
        assert_eq!(
            pattern.captures(text).as_deref(),
            expect,
            "{pattern:?} on {text:?}"
        );
        assert_eq!(pattern.matches(text), expect.is_some());
    }

    #[test]
    fn wildcards_take_what_lies_between_literals() {
        check("A_SUBMITTED", "A_SUBMITTED", Some(&[]));
        check("A_SUBMITTED", "A_SUBMITTED.COMPLETE", None);
        check(
            "W_*.START",
            "W_Valideren-aanvraag.START",
            Some(&["Valideren-aanvraag"]),
        );
        check("W_*.START", "W_a.b.START", Some(&["a.b"]));
        check("W_*.START", "W_.START", Some(&[""]));
        check("*.*.*", "a.b.c.d", Some(&["a", "b", "c.d"]));
        check("*", "", Some(&[""]));
        check("a*a", "a", None);
    }
}
