//! The table in front of a server.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use tonic::Status;
use tonic::codegen::http::{Request, Response};
use tower_service::Service;
use tracing::warn;

use super::Table;
use crate::reason::{Because as _, Reason};
use crate::server::PeerIdentity;

/// A service that passes on the requests that the table admits, and answers the others with `PERMISSION_DENIED`.
#[derive(Debug, Clone)]
pub struct Authorized<S> {
    inner: S,
    table: Arc<Table>,
}

impl<S> Authorized<S> {
    /// Puts `table` before `inner`.
    #[must_use]
    pub const fn new(inner: S, table: Arc<Table>) -> Self {
        Self { inner, table }
    }

    /// The verdict on one request.
    fn check<B>(&self, request: &Request<B>) -> Result<(), Status> {
        let peer = PeerIdentity::of(request.extensions())?;
        let caller = peer.identity();
        self.table
            .check(caller, request.uri().path())
            .map_err(|denied| {
                warn!(peer = %peer.address(), %caller, reason = %denied, "request denied");
                Status::permission_denied(denied.to_string()).because(Reason::RoleMissing)
            })
    }
}

impl<S, B, R> Service<Request<B>> for Authorized<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<R>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.check(&request) {
            Ok(()) => Either::Left(self.inner.call(request)),
            Err(status) => Either::Right(ready(Ok(status.into_http()))),
        }
    }
}
