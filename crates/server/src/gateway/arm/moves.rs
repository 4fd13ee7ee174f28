//! `moveResources` and `validateMoveResources`: nothing here can be moved, clusters by a printed rule (C19).

use axum::extract::State;
use bytes::Bytes;
use strongroom_control::{Refusal, action};

use super::super::App;
use super::super::auth::Who;
use super::super::error::ApiError;
use super::{ApiVersion, object, refused};

pub(super) async fn refuse(State(app): State<App>, who: Who, _: ApiVersion, body: Bytes) -> Result<(), ApiError> {
    who.allow(&app, action::CLUSTERS_WRITE)?;
    object(&body)?;
    Err(refused(Refusal::MoveNotSupported).target("resources"))
}
