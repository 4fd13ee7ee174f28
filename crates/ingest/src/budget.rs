//! How much may be on its way in at once.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::IngestError;

#[derive(Debug)]
struct Used {
    bytes: u64,
    requests: usize,
}

/// Bytes and requests on their way in, shared by all callers. Nobody waits: what does not fit is told to come back.
#[derive(Clone, Debug)]
pub struct Budget {
    bytes_max: u64,
    requests_max: usize,
    used: Arc<Mutex<Used>>,
}

impl Budget {
    /// A budget of so many bytes and requests.
    #[must_use]
    pub fn new(bytes_max: u64, requests_max: usize) -> Self {
        Self { bytes_max, requests_max, used: Arc::new(Mutex::new(Used { bytes: 0, requests: 0 })) }
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
        Ok(Share { budget: self.clone(), bytes: 0 })
    }

    /// Bytes held now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.used.lock().bytes
    }
}

/// One request's part of a [`Budget`]; given back on drop.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    bytes: u64,
}

impl Share {
    /// Takes more bytes.
    ///
    /// # Errors
    /// [`IngestError::Overloaded`] if they do not fit; what was held stays held until drop.
    pub fn grow(&mut self, bytes: u64) -> Result<(), IngestError> {
        let mut used = self.budget.used.lock();
        if used.bytes.saturating_add(bytes) > self.budget.bytes_max {
            return Err(IngestError::Overloaded { what: "bytes", retry_after_s: 1 });
        }
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
        used.requests -= 1;
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
        drop(two);
        assert_eq!(budget.bytes(), 0);
    }
}
