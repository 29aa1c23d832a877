//! What pages are dressed with: in the binary, so that nothing is fetched from elsewhere.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

/// Stands in the address of each, so that a browser may keep them for good.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

const ASSETS: [(&str, &str, &str); 3] = [
    (
        "console.css",
        "text/css; charset=utf-8",
        include_str!("../assets/console.css"),
    ),
    (
        "console.js",
        "text/javascript; charset=utf-8",
        include_str!("../assets/console.js"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_str!("../assets/icon.svg"),
    ),
];

/// The asset of that name.
pub(crate) fn asset(name: &str) -> Option<Response> {
    let (_, kind, text) = ASSETS.into_iter().find(|(one, _, _)| *one == name)?;
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "public, max-age=3600"),
    ];
    Some((headers, text).into_response())
}
