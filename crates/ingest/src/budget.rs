//! How much may be on its way in at once.

use std::sync::Arc;

use parking_lot::Mutex;
use strongroom_world::BootTime;

use crate::IngestError;
use crate::gate::Gate;

/// For how long what a request says it will bring counts as if it had come, in nanoseconds: between once and twice this.
const TERM_NS: u64 = 1_000_000_000;

#[derive(Debug, Default)]
struct Used {
    bytes: u64,
    requests: usize,
    /// What was said to come and has not, by the term it was said in: this one's and the last one's.
    said: [u64; 2],
    term: u64,
}

impl Used {
    /// What was said in this term's place, if it still counts.
    fn said_in(&mut self, term: u64) -> Option<&mut u64> {
        self.said.get_mut(usize::try_from(self.term.checked_sub(term)?).ok()?)
    }

    fn move_on(&mut self, now: BootTime) {
        let term = (now.0 / TERM_NS).max(self.term);
        self.said = match term - self.term {
            0 => self.said,
            1 => [0, self.said[0]],
            _ => [0, 0],
        };
        self.term = term;
    }
}

/// Bytes and requests on their way in, shared by all callers. What does not fit is told to come back.
#[derive(Clone, Debug)]
pub struct Budget {
    bytes_max: u64,
    requests_max: usize,
    used: Arc<Mutex<Used>>,
    gate: Arc<Gate>,
}

impl Budget {
    /// A budget of so many bytes and requests.
    #[must_use]
    pub fn new(bytes_max: u64, requests_max: usize) -> Self {
        Self::at(bytes_max, requests_max, Arc::default())
    }

    /// Likewise; who waits at the gate is told when room was made.
    pub(crate) fn at(bytes_max: u64, requests_max: usize, gate: Arc<Gate>) -> Self {
        Self { bytes_max, requests_max, used: Arc::default(), gate }
    }

    /// Lets one request in that holds no bytes yet.
    ///
    /// # Errors
    /// [`IngestError::Overloaded`] if there are too many already.
    pub fn enter(&self) -> Result<Share, IngestError> {
        let mut used = self.used.lock();
        if used.requests >= self.requests_max {
            return Err(IngestError::Overloaded { what: "requests", retry_after_s: 1 });
        }
        used.requests += 1;
        let mut share = self.aside();
        share.requests = 1;
        Ok(share)
    }

    /// A part for what is made of a request that is in already.
    #[must_use]
    pub fn aside(&self) -> Share {
        Share { budget: self.clone(), requests: 0, bytes: 0, said: 0, term: 0 }
    }

    /// Bytes held now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.used.lock().bytes
    }

    /// Bytes held now and those that were said to come a moment ago.
    pub(crate) fn promised(&self, now: BootTime) -> u64 {
        let mut used = self.used.lock();
        used.move_on(now);
        used.said.iter().fold(used.bytes, |sum, said| sum.saturating_add(*said))
    }
}

/// One request's part of a [`Budget`]; given back on drop.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    /// One, unless it is beside another's.
    requests: usize,
    bytes: u64,
    /// What it said would come and has not, and when it said so.
    said: u64,
    term: u64,
}

impl Share {
    /// Says that so many bytes will come: for a moment they count as if they had.
    pub(crate) fn claim(&mut self, bytes: u64, now: BootTime) {
        let mut used = self.budget.used.lock();
        used.move_on(now);
        used.said[0] = used.said[0].saturating_add(bytes);
        (self.said, self.term) = (bytes, used.term);
    }

    /// Takes more bytes.
    ///
    /// # Errors
    /// [`IngestError::Overloaded`] if they do not fit; what was held stays held until drop.
    pub fn grow(&mut self, bytes: u64) -> Result<(), IngestError> {
        let mut used = self.budget.used.lock();
        if used.bytes.saturating_add(bytes) > self.budget.bytes_max {
            return Err(IngestError::Overloaded { what: "bytes", retry_after_s: 1 });
        }
        let come = bytes.min(self.said);
        if let Some(said) = used.said_in(self.term) {
            *said = said.saturating_sub(come);
        }
        self.said -= come;
        used.bytes += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// Takes what is missing to hold so many bytes in all.
    ///
    /// # Errors
    /// As [`Share::grow`].
    pub fn cover(&mut self, bytes: u64) -> Result<(), IngestError> {
        self.grow(bytes.saturating_sub(self.bytes))
    }

    /// Bytes this request holds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut used = self.budget.used.lock();
        used.bytes -= self.bytes;
        used.requests -= self.requests;
        if let Some(said) = used.said_in(self.term) {
            *said = said.saturating_sub(self.said);
        }
        drop(used);
        self.budget.gate.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_told_to_come_back_and_a_finished_request_makes_room() {
        let budget = Budget::new(100, 2);
        let mut one = budget.enter().unwrap();
        let mut two = budget.enter().unwrap();
        assert!(matches!(budget.enter(), Err(IngestError::Overloaded { what: "requests", .. })));
        one.grow(60).unwrap();
        assert!(matches!(two.grow(60), Err(IngestError::Overloaded { what: "bytes", .. })));
        drop(one);
        two.grow(60).unwrap();
        assert_eq!(budget.bytes(), 60);
        two.cover(50).unwrap();
        assert_eq!(budget.bytes(), 60);
        two.cover(70).unwrap();
        assert_eq!(budget.bytes(), 70);
        let mut aside = budget.aside();
        aside.grow(30).unwrap();
        assert!(matches!(aside.grow(1), Err(IngestError::Overloaded { what: "bytes", .. })));
        drop(aside);
        assert_eq!(budget.bytes(), 70);
        drop(two);
        assert_eq!(budget.bytes(), 0);
        let (_a, _b) = (budget.enter().unwrap(), budget.enter().unwrap());
        assert!(budget.enter().is_err(), "what was made beside a request was none");
    }

    #[test]
    fn what_was_said_to_come_counts_until_it_came_or_did_not_for_a_while() {
        let at = |ms: u64| BootTime(ms * 1_000_000);
        let budget = Budget::new(1_000, 9);
        let mut one = budget.enter().unwrap();
        one.claim(100, at(1_500));
        assert_eq!((budget.promised(at(1_500)), budget.bytes()), (100, 0));
        one.grow(60).unwrap();
        assert_eq!((budget.promised(at(1_600)), budget.bytes()), (100, 60));
        // More comes than was said.
        one.grow(60).unwrap();
        assert_eq!(budget.promised(at(1_600)), 120);
        let mut two = budget.enter().unwrap();
        two.claim(500, at(2_100));
        assert_eq!(budget.promised(at(3_999)), 620);
        assert_eq!(budget.promised(at(4_000)), 120, "it sends nothing: who promises much keeps nobody out");
        // What comes of it late is counted as it comes, and once.
        two.grow(5).unwrap();
        assert_eq!(budget.promised(at(4_000)), 125);
        let mut three = budget.enter().unwrap();
        three.claim(70, at(4_100));
        drop(two);
        assert_eq!(budget.promised(at(4_200)), 190);
        drop(three);
        assert_eq!(budget.promised(at(4_200)), 120, "one that ends takes its word back");
        drop(one);
        assert_eq!(budget.promised(at(4_200)), 0);
    }
}
