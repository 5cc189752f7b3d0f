//! A boxed service that stays on its core: tower's own boxes demand `Send`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tower::Service;

/// A future that stays on its core.
pub(super) type LocalBoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// A service with its type erased. Cloning clones the service.
pub struct LocalBoxService<R, T, E>(Box<dyn CloneService<R, T, E>>);

trait CloneService<R, T, E> {
    fn clone_box(&self) -> Box<dyn CloneService<R, T, E>>;
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>>;
    fn call(&mut self, request: R) -> LocalBoxFuture<Result<T, E>>;
}

impl<S, R> CloneService<R, S::Response, S::Error> for S
where
    S: Service<R> + Clone + 'static,
    S::Future: 'static,
{
    fn clone_box(&self) -> Box<dyn CloneService<R, S::Response, S::Error>> {
        Box::new(self.clone())
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Service::poll_ready(self, cx)
    }

    fn call(&mut self, request: R) -> LocalBoxFuture<Result<S::Response, S::Error>> {
        Box::pin(Service::call(self, request))
    }
}

impl<R, T, E> LocalBoxService<R, T, E> {
    /// Erases the type of `service`.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<R, Response = T, Error = E> + Clone + 'static,
        S::Future: 'static,
    {
        Self(Box::new(service))
    }
}

impl<R, T, E> Clone for LocalBoxService<R, T, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone_box())
    }
}

impl<R, T, E> fmt::Debug for LocalBoxService<R, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalBoxService")
    }
}

impl<R, T, E> Service<R> for LocalBoxService<R, T, E> {
    type Response = T;
    type Error = E;
    type Future = LocalBoxFuture<Result<T, E>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.0.call(request)
    }
}
