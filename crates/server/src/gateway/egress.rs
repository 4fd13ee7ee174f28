//! The last gate: encoded bytes leave in small pieces, and none after the key behind them was taken away.
//!
//! A complete answer may wait long for a slow reader. What the kernel has taken is gone; the rest is not sent.

use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use strongroom_query::{Egress, QueryError};

/// The most that leaves between two looks at the gate, in bytes.
const PIECE: usize = 64 << 10;

/// A body that breaks off once the gate is shut.
pub(crate) fn guarded(egress: Egress, bytes: impl Stream<Item = Result<Bytes, QueryError>> + Send + 'static) -> Body {
    Body::from_stream(pieces(egress, bytes))
}

/// Whole bytes that break off once any of several gates is shut.
pub(crate) fn guarded_by_all(gates: Vec<Egress>, bytes: Bytes) -> Body {
    let gates = std::sync::Arc::new(gates);
    let pieces = futures::stream::iter(cut(bytes)).map(Ok::<_, QueryError>);
    Body::from_stream(pieces.and_then(move |piece| {
        let gates = std::sync::Arc::clone(&gates);
        async move {
            for gate in gates.iter() {
                gate.pass().await?;
            }
            Ok(piece)
        }
    }))
}

/// The bytes in small pieces, each past the gate; the gate's own error once it is shut.
pub(crate) fn pieces(
    egress: Egress,
    bytes: impl Stream<Item = Result<Bytes, QueryError>> + Send + 'static,
) -> impl Stream<Item = Result<Bytes, QueryError>> + Send + 'static {
    let pieces = bytes.map_ok(|bytes| futures::stream::iter(cut(bytes)).map(Ok)).try_flatten();
    pieces.and_then(move |piece: Bytes| {
        let egress = egress.clone();
        async move { egress.pass().await.map(|()| piece) }
    })
}

fn cut(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || (!bytes.is_empty()).then(|| bytes.split_to(bytes.len().min(PIECE))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_cut_into_pieces_and_none_is_lost() {
        for len in [0, 1, PIECE, PIECE + 1, 3 * PIECE] {
            let pieces: Vec<Bytes> = cut(vec![7; len].into()).collect();
            assert!(pieces.iter().all(|piece| (1..=PIECE).contains(&piece.len())));
            assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), len);
        }
    }
}
