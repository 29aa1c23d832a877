use maud::{DOCTYPE, Markup, html};

use super::link;
use crate::access::{By, Who};
use crate::assets;

/// Where in the console a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tab {
    Overview,
    Jobs,
    Entity,
    Findings,
    Settings,
    Audit,
}

impl Tab {
    const ALL: [(Self, &'static str, &'static str); 6] = [
        (Self::Overview, "/", "Overview"),
        (Self::Jobs, "/jobs", "Jobs"),
        (Self::Entity, "/entity", "Entity"),
        (Self::Findings, "/findings", "Findings"),
        (Self::Settings, "/settings", "Settings"),
        (Self::Audit, "/audit", "Audit"),
    ];

    /// Whether it is of any use to who sees one tenant alone: settings and audit speak of all.
    fn is_for(self, who: &Who) -> bool {
        match self {
            Self::Settings | Self::Audit => who.tenant.is_none(),
            Self::Overview | Self::Jobs | Self::Entity | Self::Findings => true,
        }
    }
}

/// A page of the console.
pub(crate) struct Page<'a> {
    pub(crate) title: &'a str,
    pub(crate) tab: Tab,
    pub(crate) who: &'a Who,
    /// Whether it is shown anew whenever something changed.
    pub(crate) live: bool,
    pub(crate) body: Markup,
}

impl Page<'_> {
    /// All of it.
    pub(crate) fn markup(&self) -> Markup {
        let Self {
            title, tab, who, ..
        } = self;
        html! {
            (DOCTYPE)
            html lang="en" {
                (head(title))
                body {
                    a.skip href="#main" { "Skip to the content" }
                    header.top {
                        a.brand href="/" { "Foldback" }
                        nav aria-label="Main" {
                            ul {
                                @for (one, path, name) in Tab::ALL {
                                    @if one.is_for(who) {
                                        li { a href=(path) aria-current=[(one == *tab).then_some("page")] { (name) } }
                                    }
                                }
                            }
                        }
                        form.find role="search" action="/entity" method="get" {
                            label.quiet for="find" { "Find by id" }
                            input #find name="id" type="search" placeholder="lead or appointment" maxlength="512" autocomplete="off";
                            @if let Some(tenant) = &who.tenant { input type="hidden" name="tenant" value=(tenant); }
                            button type="submit" { "Find" }
                        }
                    }
                    main #main tabindex="-1" data-live=[self.live.then_some("/live")] { (self.body) }
                    (foot(who))
                }
            }
        }
    }
}

fn foot(who: &Who) -> Markup {
    html! {
        footer.foot {
            p {
                "Seen by " strong { (who.name) }
                @match &who.tenant {
                    Some(tenant) => { ", of tenant " strong { (tenant) } " alone" }
                    None => { ", of all tenants" }
                }
                @if who.read_only { "; read-only" }
                ". Times are UTC."
            }
            @if who.by == By::Session {
                form method="post" action="/sign-out" {
                    input type="hidden" name="csrf" value=(who.csrf);
                    button.plain type="submit" { "Sign out" }
                }
            }
        }
    }
}

fn head(title: &str) -> Markup {
    let asset = |name: &str| link(&format!("/assets/{name}"), &[("v", assets::VERSION)]);
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="robots" content="noindex";
            title { (title) " · Foldback" }
            link rel="stylesheet" href=(asset("console.css"));
            link rel="icon" href=(asset("icon.svg")) type="image/svg+xml";
            script src=(asset("console.js")) defer {}
        }
    }
}

/// A page for who is not let in, or that could not be shown.
pub(crate) fn bare(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body {
                header.top { a.brand href="/" { "Foldback" } }
                main #main tabindex="-1" { (body) }
            }
        }
    }
}
