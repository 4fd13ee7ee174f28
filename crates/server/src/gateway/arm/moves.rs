//! `moveResources` and `validateMoveResources`: nothing here can be moved, clusters by a printed rule (C19).

use axum::body::Body;
use axum::extract::State;
use strongroom_control::{Refusal, action};

use super::super::App;
use super::super::auth::Who;
use super::super::error::ApiError;
use super::{ApiVersion, refused, sent};

pub(super) async fn refuse(State(app): State<App>, who: Who, _: ApiVersion, body: Body) -> Result<(), ApiError> {
    who.allow(&app, action::CLUSTERS_WRITE)?;
    sent(body).await?;
    Err(refused(Refusal::MoveNotSupported).target("resources"))
}
