//! Since which version each tenant's settings are what they are: a row is as it should be as long as its own
//! tenant's stay the same, whatever becomes of others'.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::file::{self, File, TenantFile};
use super::{Format, StoredSettings};

/// Of a text that is put in force under `version` after `before`, the versions since which its tenants'
/// settings are the same, in the order of the tenants' ids; none of a text that does not compile.
#[must_use]
pub fn since(
    before: Option<&StoredSettings>,
    text: &str,
    format: Format,
    version: u32,
) -> Vec<u32> {
    let Ok(file) = file::read(text, format) else {
        return Vec::new();
    };
    let known = before.and_then(|before| {
        let file = file::read(&before.text, before.format).ok()?;
        Some((versions(&file, &before.since, before.version), file))
    });
    let Some((known, earlier)) = &known else {
        return by_id(&file).map(|_| version).collect();
    };
    let earlier: BTreeMap<&SmolStr, &TenantFile> = by_id(earlier).collect();
    let of_tenant = |(id, tenant): (&SmolStr, &TenantFile)| {
        let same = earlier.get(id).is_some_and(|earlier| earlier.means(tenant));
        let since = known.get(id).filter(|_| same);
        since.copied().unwrap_or(version)
    };
    by_id(&file).map(of_tenant).collect()
}

/// The version of each tenant, where `since` gives one of each in the order of their ids; else the same of all.
pub(super) fn versions(file: &File, since: &[u32], version: u32) -> BTreeMap<SmolStr, u32> {
    let ids = by_id(file).map(|(id, _)| id.clone());
    let ids: Vec<SmolStr> = ids.collect();
    if ids.len() == since.len() {
        ids.into_iter().zip(since.iter().copied()).collect()
    } else {
        ids.into_iter().map(|id| (id, version)).collect()
    }
}

/// The tenants in the order of their ids.
fn by_id(file: &File) -> impl Iterator<Item = (&SmolStr, &TenantFile)> {
    let of = |tenant| TenantFile::ids(tenant).iter().map(move |id| (id, tenant));
    let all: BTreeMap<&SmolStr, &TenantFile> = file.tenant.iter().flat_map(of).collect();
    all.into_iter()
}
