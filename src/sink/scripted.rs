//! A sink for tests, which gives the answer that they choose.

use super::{Deferred, Deliverable, Delivery, Did, Effects, Ended, Placing, Prepared, Refused, Sink, WriteAhead};
use crate::code::Code;
use crate::envelope::Connector;
use crate::error::Result;
use crate::fit::{Examiner, Unfit};

/// How the sink answers to each envelope of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Placed.
    Place,
    /// Refused.
    Refuse,
    /// Deferred.
    Defer,
}

/// The sink.
pub struct Scripted {
    answer: Answer,
    group: Vec<(Deliverable, Placing)>,
}

impl Scripted {
    /// A sink that gives this answer for each envelope.
    pub fn new(answer: Answer) -> Self {
        Self { answer, group: Vec::new() }
    }
}

impl Sink for Scripted {
    fn recover(&mut self, _: Vec<Placing>) -> Did<()> {
        (Effects::none(1), Ok(()))
    }

    fn examiner(&self) -> Examiner {
        Examiner::Whole
    }

    fn admits(&mut self, _: &Connector, _: &mut dyn WriteAhead) -> Did<Option<Unfit>> {
        (Effects::none(1), Ok(None))
    }

    fn stage(&mut self, deliverable: Deliverable) -> Result<bool> {
        let (name, applicant) = (deliverable.name.clone(), deliverable.applicant.clone());
        let placing = Placing::of(&deliverable.origin, name, 1, applicant);
        self.group.push((deliverable, placing));
        Ok(false)
    }

    fn prepare(&mut self, _: &mut dyn WriteAhead) -> Did<Prepared> {
        let placing = self.group.iter().map(|(_, placing)| placing.clone()).collect();
        (Effects::none(1), Ok(Prepared::Placing(placing)))
    }

    fn settle(&mut self, _: bool, _: &mut dyn WriteAhead) -> Did<()> {
        let mut delivery = Delivery::none(1);
        for (Deliverable { origin, bytes, .. }, placing) in self.group.drain(..) {
            let (code, what, place) = (Code::NameTaken, "the name is taken".to_owned(), String::new());
            match self.answer {
                Answer::Place => delivery.placed.push(placing),
                Answer::Refuse => delivery.refused.push(Refused { placing, origin, bytes, code, what, place }),
                Answer::Defer => delivery.deferred.push(Deferred { placing, code, what, advice: "free it".into() }),
            }
        }
        (Effects::of(delivery), Ok(()))
    }

    fn wait(&mut self) -> Did<bool> {
        (Effects::none(1), Ok(false))
    }

    fn close(&mut self, _: Ended<'_>, _: &mut dyn WriteAhead) -> Did<()> {
        (Effects::none(1), Ok(()))
    }
}
