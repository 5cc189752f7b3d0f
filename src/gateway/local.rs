//! A boxed service that stays on its core: tower's own boxes demand `Send`.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tower::Service;

/// A future that stays on its core.
pub(super) type LocalBoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// A service with its type erased. Clones share it: cloning a whole stack for each request costs more than calling it.
/// So it has to be ready for all of them alike, as a stack of this gateway always is.
pub struct LocalBoxService<R, T, E>(Rc<RefCell<dyn Erased<R, T, E>>>);

trait Erased<R, T, E> {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>>;
    fn call(&mut self, request: R) -> LocalBoxFuture<Result<T, E>>;
}

impl<S, R> Erased<R, S::Response, S::Error> for S
where
    S: Service<R>,
    S::Future: 'static,
{
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
        S: Service<R, Response = T, Error = E> + 'static,
        S::Future: 'static,
    {
        Self(Rc::new(RefCell::new(service)))
    }
}

impl<R, T, E> Clone for LocalBoxService<R, T, E> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
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
        self.0.borrow_mut().poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.0.borrow_mut().call(request)
    }
}
