//! What can be done, and the question before it.

use serde::Deserialize;
use shared::ports::Receipt;
use shared::settings::{Format, Settings};
use smol_str::SmolStr;

use crate::access::Who;
use crate::pages::confirm::Question;
use crate::pages::{Tab, things};
use crate::refused::Refused;
use crate::source::{Acted, Chosen, Deed, Mending, Within};

/// The most letters that are named at once.
const LETTERS_MAX: usize = 1_000;

/// What is asked for, as a form or the API says it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    pub(crate) csrf: String,
    pub(crate) sure: String,
    pub(crate) deed: String,
    /// Numbers of dead letters, apart by commas; or `all`.
    pub(crate) letters: String,
    /// The handle of a message.
    pub(crate) receipt: String,
    pub(crate) tenant: SmolStr,
    pub(crate) id: SmolStr,
    pub(crate) text: String,
    pub(crate) format: String,
    pub(crate) back: String,
}

impl Asked {
    /// What is to be done, if `who` may do it.
    pub(crate) fn deed(&self, who: &Who) -> Result<Deed, Refused> {
        if who.read_only {
            return Err(Refused::read_only());
        }
        match self.deed.as_str() {
            "redrive" => Ok(Deed::Redrive(self.chosen()?)),
            "discard" => Ok(Deed::Discard(self.chosen()?)),
            "retry" if !self.receipt.is_empty() => {
                Ok(Deed::Retry(vec![Receipt(self.receipt.as_str().into())]))
            }
            "replay" => Ok(Deed::Replay(Mending::Report, self.within(who)?)),
            "repair" => Ok(Deed::Replay(Mending::Update, self.within(who)?)),
            "settings" => self.settings(who),
            other => Err(Refused::wrong(format!(
                "{other:?} is nothing that can be done here"
            ))),
        }
    }

    fn chosen(&self) -> Result<Chosen, Refused> {
        if self.letters == "all" {
            return Ok(Chosen::All);
        }
        let numbers: Result<Vec<u128>, _> = self
            .letters
            .split(',')
            .map(|number| number.trim().parse())
            .collect();
        match numbers {
            Ok(numbers) if numbers.len() <= LETTERS_MAX => Ok(Chosen::These(numbers)),
            Ok(_) => Err(Refused::wrong(format!(
                "at most {LETTERS_MAX} letters are named at once"
            ))),
            Err(_) => Err(Refused::wrong(
                "letters are numbers, apart by commas, or `all`",
            )),
        }
    }

    fn within(&self, who: &Who) -> Result<Within, Refused> {
        let tenant = match &who.tenant {
            Some(own) if self.tenant.is_empty() => own.clone(),
            Some(_) | None => self.tenant.clone(),
        };
        if !tenant.is_empty() && !who.sees(&tenant) {
            return Err(Refused::not_found("no such tenant"));
        }
        match (tenant.is_empty(), self.id.is_empty()) {
            (true, true) => Ok(Within::All),
            (false, true) => Ok(Within::Tenant(tenant)),
            (false, false) => Ok(Within::Id(tenant, self.id.clone())),
            (true, false) => Err(Refused::wrong("an id is of a tenant: name it")),
        }
    }

    fn settings(&self, who: &Who) -> Result<Deed, Refused> {
        if who.tenant.is_some() {
            return Err(Refused::not_found("settings are of all tenants"));
        }
        let format = format(&self.format)?;
        // Browsers send lines as mail does.
        let text = self.text.replace("\r\n", "\n");
        Settings::compile(&text, format, 0).map_err(|error| {
            Refused::wrong(format!("these settings cannot be put in force: {error}"))
        })?;
        Ok(Deed::PutSettings(text, format))
    }

    /// The page to go back to, if it is one of ours.
    pub(crate) fn ours(&self) -> Option<&str> {
        let is_ours = self.back.starts_with('/')
            && !self.back.starts_with("//")
            && self
                .back
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        is_ours.then_some(self.back.as_str())
    }

    /// Where to go back to: a page of ours.
    pub(crate) fn back(&self, deed: &Deed) -> String {
        if let Some(ours) = self.ours() {
            return ours.to_owned();
        }
        match deed {
            Deed::Redrive(_) | Deed::Discard(_) | Deed::Retry(_) => "/jobs?state=failed".to_owned(),
            Deed::PutSettings(..) => "/settings".to_owned(),
            Deed::Replay(..) => "/findings".to_owned(),
        }
    }

    /// What the form of the question sends.
    pub(crate) fn fields(&self) -> Vec<(&str, &str)> {
        let all = [
            ("deed", self.deed.as_str()),
            ("letters", &self.letters),
            ("receipt", &self.receipt),
            ("tenant", &self.tenant),
            ("id", &self.id),
            ("text", &self.text),
            ("format", &self.format),
            ("back", &self.back),
        ];
        all.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect()
    }
}

/// The format of that name.
pub(crate) fn format(name: &str) -> Result<Format, Refused> {
    match name {
        "toml" | "" => Ok(Format::Toml),
        "json" => Ok(Format::Json),
        other => Err(Refused::wrong(format!(
            "{other:?} is neither toml nor json"
        ))),
    }
}

/// A deed in words.
#[derive(Debug)]
pub(crate) struct Words {
    what: String,
    note: &'static str,
    word: &'static str,
    back: String,
}

impl Words {
    /// The question, whose form sends these fields.
    pub(crate) fn question<'a>(
        &'a self,
        fields: &'a [(&'a str, &'a str)],
        tab: Tab,
    ) -> Question<'a> {
        Question {
            what: &self.what,
            note: self.note,
            word: self.word,
            fields,
            back: &self.back,
            tab,
        }
    }
}

/// What is asked before a deed.
pub(crate) fn words(deed: &Deed, back: String) -> Words {
    let about = deed.about();
    let (what, note, word) = match deed {
        Deed::Redrive(_) => (
            format!("Send {about} back to the queue."),
            "Each is tried again under the settings in force now. What fails again is parked again.",
            "Send back",
        ),
        Deed::Discard(_) => (
            format!("Throw {about} away for good."),
            "Their events stay in the journal; a replay takes them for lost where the settings have a meaning for them.",
            "Throw away",
        ),
        Deed::Retry(_) => (
            format!("Try {about} again now."),
            "It would come again by itself after a while.",
            "Try again",
        ),
        Deed::PutSettings(..) => (
            format!("Put settings of {about} in force."),
            "Rows made under other settings are stale until an event or a repair brings them to these.",
            "Put in force",
        ),
        Deed::Replay(Mending::Report, _) => (
            format!("Compare the rows of {about} with the fold of their events."),
            "Nothing is changed. What is found is kept as a run.",
            "Compare",
        ),
        Deed::Replay(Mending::Update, _) => (
            format!("Repair the rows of {about}."),
            "Rows that are not the fold of their events are written anew. The run is kept with what it found.",
            "Repair",
        ),
    };
    Words {
        what,
        note,
        word,
        back,
    }
}

pub(crate) fn tab(deed: &Deed) -> Tab {
    match deed {
        Deed::Redrive(_) | Deed::Discard(_) | Deed::Retry(_) => Tab::Jobs,
        Deed::PutSettings(..) => Tab::Settings,
        Deed::Replay(..) => Tab::Findings,
    }
}

/// What was done, in a sentence.
pub(crate) fn done(deed: &str, acted: Acted) -> Option<String> {
    let number = |one| things(acted.count, one);
    if let ("replay" | "repair", Some(partitions)) = (deed, acted.partitions) {
        return Some(format!(
            "A replay over {} has begun. It is listed here once the last of them is done.",
            things(partitions, "partition")
        ));
    }
    Some(match deed {
        "redrive" => format!("{} sent back to the queue.", number("dead letter")),
        "discard" => format!("{} thrown away.", number("dead letter")),
        "retry" => format!("{} tried again.", number("message")),
        "settings" => format!("Version {} of the settings is in force.", acted.count),
        "replay" => format!("{}.", number("finding")),
        "repair" => format!("{} repaired.", number("row")),
        _other => return None,
    })
}
