//! The operators' routing table. Every route says which role it takes, and there is no other way to add one: whoever has no
//! token is told so (401), whoever has a lesser role is told which one is needed (403).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use axum::{Json, Router};
use engine::planted;
use serde::Serialize;

use crate::auth::{Role, Tokens, bearer, unauthenticated};
use crate::problem::{Kind, Problem};
use crate::wiring::Shared;

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Route {
    method: &'static str,
    path: String,
    /// The least role; `null` when it is open to all.
    role: Option<Role>,
}

/// Routes, each with its role.
pub struct Routes {
    router: Router<Shared>,
    tokens: Tokens,
    listed: Vec<Route>,
}

impl Routes {
    /// No routes yet.
    pub fn new(tokens: Tokens) -> Self {
        Self {
            router: Router::new(),
            tokens,
            listed: Vec::new(),
        }
    }

    /// Something to look at, for every role.
    pub fn get<H, T>(self, path: &str, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        self.add("GET", MethodFilter::GET, path, Some(Role::Viewer), handler)
    }

    /// Something that changes something, for this role and those above it.
    pub fn post<H, T>(self, role: Role, path: &str, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        self.add("POST", MethodFilter::POST, path, Some(role), handler)
    }

    /// Something that probes look at: open to all, so nothing in it may be a secret.
    pub fn get_open<H, T>(self, path: &str, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        self.add("GET", MethodFilter::GET, path, None, handler)
    }

    fn add<H, T>(
        mut self,
        method: &'static str,
        filter: MethodFilter,
        path: &str,
        role: Option<Role>,
        handler: H,
    ) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        let route = on(filter, handler);
        let route = match role {
            None => route,
            Some(role) => {
                let tokens = self.tokens.clone();
                route.route_layer(middleware::from_fn_with_state(
                    Guard { tokens, role },
                    admit,
                ))
            }
        };
        self.router = self.router.route(path, route);
        self.listed.push(Route {
            method,
            path: path.to_owned(),
            role,
        });
        self
    }

    /// The router, which also shows this table at `/v1/routes`.
    pub fn into_router(self) -> Router<Shared> {
        let table = Arc::new(std::sync::OnceLock::new());
        let shown = Arc::clone(&table);
        let show = move || async move { Json(shown.get().cloned().unwrap_or_default()) };
        let Self { router, listed, .. } = self.get("/v1/routes", show);
        let _first = table.set(Listed { routes: listed });
        router
    }
}

#[derive(Clone, Debug, Default, Serialize)]
struct Listed {
    routes: Vec<Route>,
}

/// What one route asks of whoever comes.
#[derive(Clone)]
struct Guard {
    tokens: Tokens,
    role: Role,
}

/// Lets pass who has the role, and says who it is: see [`crate::auth::Operator`].
async fn admit(
    State(guard): State<Guard>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let token = bearer(request.headers()).ok_or_else(|| {
        unauthenticated(
            "send `Authorization: Bearer <token>` with an operator's token; `holdfast token --role viewer --subject NAME` signs one",
        )
    })?;
    let operator = guard.tokens.operator(token)?;
    if operator.role < guard.role && !planted::is_on("role-not-checked") {
        let why = format!(
            "this takes the role `{}`, and the token of `{}` has `{}`",
            guard.role.as_str(),
            operator.name,
            operator.role.as_str()
        );
        return Err(Problem::new(Kind::ROLE_REQUIRED, why).with_field("Authorization"));
    }
    request.extensions_mut().insert(operator);
    Ok(next.run(request).await)
}
