//! owners: whether a stream may deliver under a connector's id, as it was said first in a run.

use std::collections::{BTreeMap, HashMap};

use crate::code::Code;
use crate::destination::TakeOver;
use crate::envelope::Connector;
use crate::error::Result;
use crate::ledger::importer::{Claim, ImporterLedger};
use crate::policy::Objection;
use crate::stream::{Lineages, StreamId};
use crate::text::harmless;

/// What a run knows of streams and connectors.
#[derive(Debug)]
pub struct Owners {
    /// Whose connectors a person lets streams take over.
    take_over: TakeOver,
    /// What each stream may do under a connector's id.
    known: HashMap<StreamId, BTreeMap<String, Claim>>,
    /// Which streams go on from which, once that was asked for: nothing is admitted while a run delivers.
    heirs: Option<Lineages>,
}

impl Owners {
    /// Nothing was asked yet.
    pub fn new(take_over: TakeOver) -> Self {
        Self { take_over, known: HashMap::new(), heirs: None }
    }

    /// What speaks against a connector that comes by this stream. `id` is its id here.
    pub fn objection(
        &mut self,
        ledger: &ImporterLedger,
        stream: StreamId,
        connector: &Connector,
        id: &str,
    ) -> Result<Option<Objection>> {
        let heirs = match self.heirs.take() {
            Some(heirs) => heirs,
            None => ledger.heirs()?,
        };
        let heirs = self.heirs.insert(heirs);
        let known = self.known.entry(stream).or_default();
        if !known.contains_key(connector.id.as_str()) {
            known.insert(connector.id.to_string(), claim(ledger, heirs, &self.take_over, stream, (&connector.id, id))?);
        }
        let (other, came) = match &known[connector.id.as_str()] {
            Claim::Free => return Ok(None),
            Claim::Shared { with, name, kind } => {
                if (name.as_ref(), kind.as_ref()) == (Some(&connector.name), Some(&connector.kind)) {
                    return Ok(None);
                }
                (with, format!("which calls it {}", harmless(name.as_deref().unwrap_or_default())))
            }
            Claim::Others(other) => (other, "by which it came first".to_owned()),
        };
        let (id, name) = (harmless(&connector.id), harmless(&connector.name));
        let what =
            format!("connector {id} ({name}) of stream {stream} belongs to stream {other}, {came}, under another key");
        Ok(Some(Objection::new(Code::ConnectorOfAnotherStream, what, "/connector/id")))
    }
}

/// What a stream may do under a connector's id (there and here). A person may say that it may use the id too, once an
/// earlier run has shown it.
fn claim(
    ledger: &ImporterLedger,
    heirs: &Lineages,
    take_over: &TakeOver,
    stream: StreamId,
    (there, here): (&str, &str),
) -> Result<Claim> {
    let is_said = match take_over {
        TakeOver::Nothing => false,
        TakeOver::Shown => true,
        TakeOver::These(ids) => ids.contains(there) || ids.contains(here),
    };
    if is_said && ledger.is_aside_for(Code::ConnectorOfAnotherStream, there, stream)? {
        ledger.let_use(there, stream)?;
        ledger.let_use(here, stream)?;
        return Ok(Claim::Free);
    }
    let claim = ledger.claim(there, stream, heirs)?;
    if here == there || matches!(claim, Claim::Others(_)) {
        return Ok(claim);
    }
    // Another id is given to it here: then that one must not be another stream's.
    let of_here = ledger.claim(here, stream, heirs)?;
    Ok(match (claim, of_here) {
        (Claim::Free, of_here) => of_here,
        (Claim::Shared { with, .. }, Claim::Others(other)) if with != other => Claim::Others(other),
        (claim, _) => claim,
    })
}
