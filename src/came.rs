//! came: in whose names connectors of the other side wrote, who that is here, and whether those users exist.

use std::collections::BTreeMap;

use crate::applicants::{ApplicantId, AppliesTo, Mapping, UserId};
use crate::error::Result;
use crate::ledger::importer::ImporterView;
use crate::platform::Platform;
use crate::report::{CameApplicant, MappedTo, MappedUser, UserThere, WroteFor};

/// Each applicant that came or is mapped, by id. `default` is the user for those that are not mapped.
///
/// # Errors
/// SQLite refused.
pub fn applicants(ledger: &ImporterView, mappings: &[Mapping], default: Option<UserId>) -> Result<Vec<CameApplicant>> {
    let mut wrote: BTreeMap<Option<String>, Vec<WroteFor>> = BTreeMap::new();
    for pair in ledger.came_pairs()? {
        let (id, name, stream, envelopes) = (pair.connector, pair.name, pair.stream, pair.envelopes);
        wrote.entry(pair.applicant).or_default().push(WroteFor { stream, id, name, envelopes });
    }
    let mut of_applicant: BTreeMap<ApplicantId, Vec<&Mapping>> = BTreeMap::new();
    for mapping in mappings {
        of_applicant.entry(ApplicantId::of(&mapping.from)).or_default().push(mapping);
    }
    let mut waiting: BTreeMap<Option<String>, u64> = ledger.unmapped_applicants()?.into_iter().collect();
    let mut all = Vec::new();
    let mut seen = Vec::new();
    for (id, envelopes) in ledger.came_applicants()? {
        let key = id.as_deref().map(ApplicantId::of);
        let mapped = key.as_ref().and_then(|key| of_applicant.get(key)).map_or(&[][..], Vec::as_slice);
        seen.extend(key);
        let connectors = wrote.remove(&id).unwrap_or_default();
        let known: u64 = connectors.iter().map(|wrote| wrote.envelopes).sum();
        all.push(CameApplicant {
            name: mapped.iter().find_map(|mapping| mapping.name.clone()),
            envelopes,
            waiting: waiting.remove(&id).unwrap_or_default(),
            unknown: envelopes.saturating_sub(known),
            connectors,
            users: users(mapped, default),
            id,
        });
    }
    seen.iter().for_each(|key| drop(of_applicant.remove(key)));
    all.extend(of_applicant.into_values().map(|mapped| CameApplicant {
        id: mapped.first().map(|mapping| mapping.from.trim().to_owned()),
        name: mapped.iter().find_map(|mapping| mapping.name.clone()),
        users: users(&mapped, None),
        ..CameApplicant::default()
    }));
    Ok(all)
}

/// The users for an applicant: those of its mappings, and the one for all others where no mapping is for all.
fn users(mapped: &[&Mapping], default: Option<UserId>) -> Vec<MappedUser> {
    let mut users: Vec<MappedUser> = mapped.iter().map(|mapping| user(mapping.applies_to, mapping.to)).collect();
    if !mapped.iter().any(|mapping| mapping.applies_to == AppliesTo::All) {
        let by_default = |to: UserId| MappedUser { by: MappedTo::Default, of: None, id: to.to_string(), there: None };
        users.extend(default.map(by_default));
    }
    users
}

fn user(applies_to: AppliesTo, to: UserId) -> MappedUser {
    let (by, of) = match applies_to {
        AppliesTo::All => (MappedTo::All, None),
        AppliesTo::Stream(stream) => (MappedTo::Stream, Some(stream.to_string())),
        AppliesTo::Key(key) => (MappedTo::Key, Some(key.to_string())),
    };
    MappedUser { by, of, id: to.to_string(), there: None }
}

/// Asks the platform for each user to whom an applicant is mapped, once for each.
///
/// # Errors
/// The platform is in trouble.
pub fn ask_for_users(platform: &Platform<'_>, all: &mut [CameApplicant]) -> Result<()> {
    let mut known: BTreeMap<String, UserThere> = BTreeMap::new();
    for user in all.iter_mut().flat_map(|applicant| &mut applicant.users) {
        let there = match known.get(&user.id) {
            Some(there) => there.clone(),
            None => match platform.name_of_user(&user.id)? {
                Ok(name) => UserThere { exists: Some(name.is_some()), name, why: None },
                Err(why) => UserThere { exists: None, name: None, why: Some(why) },
            },
        };
        known.insert(user.id.clone(), there.clone());
        user.there = Some(there);
    }
    Ok(())
}
