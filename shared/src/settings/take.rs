use smol_str::SmolStr;

use super::file::{Expression, Source};
use super::pluck::{Pluck, Pointer};

/// Expressions under the names of what they give, compiled so that one pass over a JSON text takes
/// all that they point at.
#[derive(Debug, Clone)]
pub(super) struct Takes<K> {
    pluck: Pluck,
    takes: Vec<(K, Take)>,
}

#[derive(Debug, Clone)]
struct Take {
    from: From,
    lower: bool,
}

#[derive(Debug, Clone)]
enum From {
    /// The value at this place of the pluck, and the pointer for messages.
    Plucked(usize, SmolStr),
    Capture(usize),
    Const(SmolStr),
}

impl<K: Copy + PartialEq> Takes<K> {
    pub(super) fn new(expressions: impl IntoIterator<Item = (K, Expression)>) -> Self {
        let mut pointers: Vec<Pointer> = Vec::new();
        let mut takes = Vec::new();
        for (name, expression) in expressions {
            let from = match expression.source {
                Source::Capture(n) => From::Capture(n),
                Source::Const(text) => From::Const(text),
                Source::Pointer(pointer) => {
                    let text = pointer.text().clone();
                    let known = pointers.iter().position(|known| known.text() == &text);
                    let place = known.unwrap_or(pointers.len());
                    if known.is_none() {
                        pointers.push(pointer);
                    }
                    From::Plucked(place, text)
                }
            };
            let lower = expression.lower;
            takes.push((name, Take { from, lower }));
        }
        let pluck = Pluck::new(&pointers);
        Self { pluck, takes }
    }

    /// What each expression gives for a JSON text, where it gives anything.
    pub(super) fn values(
        &self,
        json: Option<&str>,
        captures: &[&str],
    ) -> impl Iterator<Item = (K, SmolStr)> {
        let plucked = json.map_or_else(Vec::new, |json| self.pluck.all(json));
        self.takes.iter().filter_map(move |(name, take)| {
            take.value(&plucked, captures).map(|value| (*name, value))
        })
    }

    /// Where the expression points at, where it does.
    pub(super) fn pointer(&self, of: K) -> Option<&SmolStr> {
        let (_, take) = self.takes.iter().find(|(name, _)| *name == of)?;
        match &take.from {
            From::Plucked(_, pointer) => Some(pointer),
            From::Capture(_) | From::Const(_) => None,
        }
    }
}

impl Take {
    fn value(&self, plucked: &[Option<SmolStr>], captures: &[&str]) -> Option<SmolStr> {
        let value = match &self.from {
            From::Plucked(place, _) => plucked.get(*place).cloned().flatten()?,
            From::Capture(n) => SmolStr::from(*captures.get(n.checked_sub(1)?)?),
            From::Const(text) => text.clone(),
        };
        Some(if self.lower {
            SmolStr::from(value.to_lowercase())
        } else {
            value
        })
    }
}
