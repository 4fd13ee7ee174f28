//! The sealed buffer's cipher: rows that can be taken in while the key that opens them is away.
//!
//! Each record is sealed to a public key that is derived from the AEK (HPKE, RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
//! AES-256-GCM, base mode), with an ephemeral key of its own: once it is sealed, nobody here can read it, a process that is
//! taken over included. Around it lies a layer under the provider's root key, one derivation a segment: a public key alone
//! would let anybody who can write to the disk make records up. Either key alone opens nothing. What the bytes are in a file is
//! `docs/formats/sealed-buffer.md`; where they lie and when they are opened is not known here.

use std::convert::Infallible;
use std::fmt;

use hpke::aead::{AeadTag, AesGcm256};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use strongroom_model::{Epoch, ObjectId, TableId, WorkspaceId};
use strongroom_world::{BootTime, Rng};
use zeroize::Zeroizing;

use crate::aead::NotAuthentic;
use crate::chunked::{ChunkCipher, PREAMBLE_LEN};
use crate::key::Key32;
use crate::object::reopen;
use crate::secret::Purpose;
use crate::{Aek, Header, KeyGuard, Mmk, ObjectKind, OpenError, TAG_LEN, aead};

type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;
type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
type Encapped = <X25519HkdfSha256 as Kem>::EncappedKey;

/// What binds a record to its segment, before the segment's header.
const INFO: &[u8] = b"strongroom sealed buffer v1";
/// Bytes of the encapsulated key.
const ENCAPPED_LEN: usize = 32;

/// What an epoch's buffered rows are sealed to. Public: it opens nothing. That it is the right one is known by the cell it is
/// kept in ([`Mmk::seal_buffer_key`]) and, at each unwrap, from the AEK itself ([`Aek::buffer_key`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferKey([u8; 32]);

impl BufferKey {
    /// From its bytes; which they should be is for the caller to know.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes (RFC 7748).
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Aek {
    /// The public key of this AEK's buffer.
    #[must_use]
    pub fn buffer_key(&self) -> BufferKey {
        let (_, public) = key_pair(&self.purpose_key(Purpose::SealSeed));
        BufferKey(public.to_bytes().into())
    }
}

impl Mmk {
    /// Vouches for an epoch's public key: a cell that opens for this epoch only.
    #[must_use]
    pub fn seal_buffer_key(&self, rng: &dyn Rng, epoch: Epoch, key: &BufferKey) -> Vec<u8> {
        self.seal_for(rng, &key_header(epoch), key.as_bytes())
    }

    /// The public key that was vouched for.
    ///
    /// # Errors
    /// [`OpenError`] if it was not, or not for this epoch.
    pub fn open_buffer_key(&self, epoch: Epoch, cell: &[u8]) -> Result<BufferKey, OpenError> {
        let plain = self.open_for(&key_header(epoch), cell)?;
        let len = plain.len() as u64;
        plain.try_into().map(BufferKey).map_err(|_| OpenError::Truncated { object: ObjectId::NIL, len })
    }
}

fn key_header(epoch: Epoch) -> Header {
    Header { aek: epoch.aek, account: epoch.account, ..Header::blank(ObjectKind::Cell) }
}

/// The pair of RFC 9180's DeriveKeyPair; the purpose key has the entropy that it asks for.
fn key_pair(seed: &Key32) -> (PrivateKey, PublicKey) {
    X25519HkdfSha256::derive_keypair(seed.expose())
}

/// Seals and opens the records of one segment of the sealed buffer. It holds the provider's layer only.
pub struct BufferCipher {
    header: Header,
    outer: ChunkCipher<aead::Outer>,
}

impl BufferCipher {
    /// What a segment begins with: header, the caller's own bytes, salt and commitment of the outer layer.
    #[must_use]
    pub const fn prefix_len(note: usize) -> usize {
        Header::LEN + note + PREAMBLE_LEN
    }

    /// Starts a segment: the cipher, and the bytes that the file begins with. `note` is bound along with the header. A segment is
    /// never taken up again after a restart.
    ///
    /// # Panics
    /// If the header is of another kind.
    #[must_use]
    pub fn create(mmk: &Mmk, rng: &dyn Rng, header: &Header, note: &[u8]) -> (Self, Vec<u8>) {
        assert!(fits(header), "a segment of the sealed buffer has a header of that kind");
        let mut prefix = [&header.to_bytes()[..], note].concat();
        let (outer, preamble) = ChunkCipher::create(mmk.buffer(), rng, &prefix);
        prefix.extend_from_slice(&preamble);
        (Self { header: *header, outer }, prefix)
    }

    /// Reads a segment's first [`prefix_len`](Self::prefix_len) bytes: what they say is proved. Needs no customer's key.
    ///
    /// # Errors
    /// [`OpenError::Truncated`], [`OpenError::UnknownFormat`], [`OpenError::WrongPlace`] for another kind of object,
    /// [`OpenError::NotCommitted`] if the root key did not make it.
    pub fn reopen(mmk: &Mmk, prefix: &[u8]) -> Result<(Self, Header), OpenError> {
        let header = Header::parse(prefix)?;
        if !fits(&header) {
            return Err(OpenError::WrongPlace { object: header.object });
        }
        let truncated = OpenError::Truncated { object: header.object, len: prefix.len() as u64 };
        let (context, preamble) = prefix.split_last_chunk::<PREAMBLE_LEN>().ok_or(truncated)?;
        if context.len() < Header::LEN {
            return Err(truncated);
        }
        let outer = reopen(mmk.buffer(), preamble, context, &header)?;
        Ok((Self { header, outer }, header))
    }

    /// Seals `buffer[start..]` in place, which grows by 48 bytes, and gives the outer tag. A `seq` must never be used twice in a
    /// segment; `previous` is the tag of the record before, zeros for the first.
    ///
    /// # Errors
    /// [`OpenError::NotCommitted`] for a key that is no point to seal to.
    #[expect(clippy::too_many_arguments, reason = "each is authenticated")]
    pub fn seal_record(
        &self,
        rng: &dyn Rng,
        key: &BufferKey,
        seq: u64,
        synced_through: u64,
        previous: &[u8; TAG_LEN],
        buffer: &mut Vec<u8>,
        start: usize,
    ) -> Result<[u8; TAG_LEN], OpenError> {
        let associated = self.associated(seq, synced_through, previous);
        let refused = |_| OpenError::NotCommitted { object: self.header.object };
        let public = PublicKey::from_bytes(&key.0).map_err(refused)?;
        let (encapped, tag) = hpke::single_shot_seal_inout_detached_with_rng::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &public,
            &self.info(),
            InOutBuf::from(&mut buffer[start..]),
            &associated,
            &mut Borrowed(rng),
        )
        .map_err(refused)?;
        buffer.extend_from_slice(&encapped.to_bytes());
        buffer.extend_from_slice(&tag.to_bytes());
        Ok(self.outer.seal_in_place(seq, &associated, &mut buffer[start..]))
    }

    /// Opens the provider's layer in place: who can is told that the record is genuine, and reads nothing of it.
    ///
    /// # Errors
    /// [`OpenError::NotAuthentic`] with the position as chunk.
    pub fn prove_record(
        &self,
        seq: u64,
        synced_through: u64,
        previous: &[u8; TAG_LEN],
        ciphertext: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), OpenError> {
        let associated = self.associated(seq, synced_through, previous);
        self.outer.open_in_place(seq, &associated, ciphertext, tag).map_err(|NotAuthentic| self.not_authentic(seq))
    }

    /// Opens a record that was [proved](Self::prove_record), in place; it shrinks by 48 bytes. `guard` must be of the segment's
    /// epoch.
    ///
    /// # Errors
    /// [`OpenError::NotAuthentic`] with the position as chunk, [`OpenError::WrongPlace`], [`OpenError::Guard`].
    pub fn open_proved(
        &self,
        guard: &KeyGuard,
        now: BootTime,
        seq: u64,
        synced_through: u64,
        previous: &[u8; TAG_LEN],
        ciphertext: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        if guard.epoch() != self.header.epoch() {
            return Err(OpenError::WrongPlace { object: self.header.object });
        }
        let associated = self.associated(seq, synced_through, previous);
        let wrong = |_| self.not_authentic(seq);
        let (rest, tag) = ciphertext.split_last_chunk::<TAG_LEN>().ok_or_else(|| self.not_authentic(seq))?;
        let tag = AeadTag::<AesGcm256>::from_bytes(tag).map_err(wrong)?;
        let (_, encapped) = rest.split_last_chunk::<ENCAPPED_LEN>().ok_or_else(|| self.not_authentic(seq))?;
        let encapped = Encapped::from_bytes(encapped).map_err(wrong)?;
        ciphertext.truncate(ciphertext.len() - TAG_LEN - ENCAPPED_LEN);
        guard.with(now, |keys| {
            let (private, _) = key_pair(keys.purpose(Purpose::SealSeed));
            hpke::single_shot_open_inout_detached::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
                &OpModeR::Base,
                &private,
                &encapped,
                &self.info(),
                InOutBuf::from(&mut ciphertext[..]),
                &associated,
                &tag,
            )
            .map_err(wrong)
        })
    }

    fn not_authentic(&self, seq: u64) -> OpenError {
        OpenError::NotAuthentic { object: self.header.object, chunk: seq }
    }

    /// What HPKE binds beside the associated data: the purpose and the segment's header, epoch and all.
    fn info(&self) -> Vec<u8> {
        [INFO, &self.header.to_bytes()[..]].concat()
    }

    /// As of a record of the log.
    fn associated(&self, seq: u64, synced_through: u64, previous: &[u8; TAG_LEN]) -> [u8; 48] {
        crate::wal::associated(self.header.object, seq, synced_through, previous)
    }
}

impl fmt::Debug for BufferCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferCipher").field("segment", &self.header.object).finish_non_exhaustive()
    }
}

fn fits(header: &Header) -> bool {
    header.kind == ObjectKind::Buffered && header.double && header.workspace == WorkspaceId::NIL && header.table == TableId::NIL
}

/// Our randomness, in the words of the crate that draws the ephemeral key from it.
struct Borrowed<'a>(&'a dyn Rng);

impl TryRng for Borrowed<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = Zeroizing::new([0; 4]);
        self.0.fill(bytes.as_mut_slice());
        Ok(u32::from_le_bytes(*bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = Zeroizing::new([0; 8]);
        self.0.fill(bytes.as_mut_slice());
        Ok(u64::from_le_bytes(*bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Borrowed<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9180 §A.1.1: what DeriveKeyPair makes of `ikmR`, and what encapsulation with the `ikmE` there sends.
    #[test]
    fn the_key_pair_is_the_one_of_the_standards_own_vector() {
        let seed = *b"\x6d\xb9\xdf\x30\xaa\x07\xdd\x42\xee\x5e\x81\x81\xaf\xdb\x97\x7e\x53\x8f\x5e\x1f\xec\x8a\x06\x22\x3f\x33\xf7\x01\x3e\x52\x50\x37";
        let (_, public) = key_pair(&Key32::from_bytes(seed));
        assert_eq!(hex::encode(public.to_bytes()), "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d");
    }
}
