//! The wrapped-AEK record: all that is ever stored of an AEK.

use serde::{Deserialize, Serialize};
use strongroom_model::{AccountId, AekId, ObjectId};

use crate::OpenError;

const MAGIC: [u8; 4] = *b"STRK";
const VERSION: u8 = 1;

/// What an AEK's check value is computed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordIds {
    /// The cluster, or NIL for the shared account.
    pub cluster: ObjectId,
    /// The storage account.
    pub account: AccountId,
    /// The AEK.
    pub aek: AekId,
    /// Counts up with every re-wrap, from 1.
    pub generation: u64,
}

/// An AEK as a vault (or the MMK) wrapped it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrappedAek {
    /// Whose key it is, and which wrapping of it.
    pub ids: RecordIds,
    /// Who wrapped it: `mmk`, or a vault provider's name.
    pub provider: String,
    /// The wrapping key's address; empty for the MMK.
    pub key_uri: String,
    /// The wrapping key's version as the vault answered; empty for the MMK.
    pub key_version: String,
    /// How it was wrapped: `MMK-C2SP`, `RSA-OAEP-256`, …
    pub algorithm: String,
    /// The wrapped key.
    pub bytes: Vec<u8>,
    /// Key check value: HMAC-SHA256 under the AEK over all ids.
    pub kcv: [u8; 32],
}

impl WrappedAek {
    /// The record's bytes (`docs/formats/wrapped-aek.md`).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + self.bytes.len());
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        out.extend_from_slice(self.ids.cluster.as_bytes());
        out.extend_from_slice(self.ids.account.as_bytes());
        out.extend_from_slice(self.ids.aek.as_bytes());
        out.extend_from_slice(&self.ids.generation.to_le_bytes());
        let texts = [&self.provider, &self.key_uri, &self.key_version, &self.algorithm];
        for field in texts.map(String::as_bytes).into_iter().chain([self.bytes.as_slice()]) {
            let len = u32::try_from(field.len()).expect("no field of a key record is 4 GiB long");
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(field);
        }
        out.extend_from_slice(&self.kcv);
        out
    }

    /// Reads a record. Nothing in it is proved before the key in it was unwrapped and its check value compared.
    ///
    /// # Errors
    /// [`OpenError::UnknownFormat`] for another magic or version or text that is not UTF-8, [`OpenError::Truncated`] for another
    /// length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OpenError> {
        let mut rest = Reader { rest: bytes, len: bytes.len() };
        let magic = rest.array::<4>()?;
        if magic != MAGIC {
            return Err(OpenError::UnknownFormat { what: "key record", found: u32::from_be_bytes(magic) });
        }
        let [version] = rest.array()?;
        if version != VERSION {
            return Err(OpenError::UnknownFormat { what: "key record version", found: u32::from(version) });
        }
        let ids = RecordIds {
            cluster: ObjectId::from_bytes(rest.array()?),
            account: AccountId::from_bytes(rest.array()?),
            aek: AekId::from_bytes(rest.array()?),
            generation: u64::from_le_bytes(rest.array()?),
        };
        let record = Self {
            ids,
            provider: rest.text()?,
            key_uri: rest.text()?,
            key_version: rest.text()?,
            algorithm: rest.text()?,
            bytes: rest.field()?.to_vec(),
            kcv: rest.array()?,
        };
        if rest.rest.is_empty() { Ok(record) } else { Err(rest.truncated()) }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
}

impl<'a> Reader<'a> {
    const fn truncated(&self) -> OpenError {
        OpenError::Truncated { object: ObjectId::NIL, len: self.len as u64 }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], OpenError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or_else(|| self.truncated())?;
        self.rest = rest;
        Ok(*array)
    }

    fn field(&mut self) -> Result<&'a [u8], OpenError> {
        let len = u32::from_le_bytes(self.array()?);
        let (field, rest) = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len)).ok_or_else(|| self.truncated())?;
        self.rest = rest;
        Ok(field)
    }

    fn text(&mut self) -> Result<String, OpenError> {
        let field = self.field()?;
        String::from_utf8(field.to_vec()).map_err(|_| OpenError::UnknownFormat { what: "key record text", found: 0 })
    }
}
