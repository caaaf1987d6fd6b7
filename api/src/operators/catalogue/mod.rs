//! What operators do with what is sold: seed it, look at it, change its schedule, recall a product, fill pools of serial numbers,
//! and read the books.

mod schedule;
mod seed;

mod list;
mod show;

mod recall;
mod serials;

mod ledger;

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use workflows::domain::ids::{ProductId, SaleId};
use workflows::domain::sale::{Product, Sale};

use super::BODY_BYTES_MAX;
use super::routes::Routes;
use crate::auth::Role;
use crate::problem::Problem;
use crate::wiring::Services;

/// The routes.
pub fn add(routes: Routes) -> Routes {
    routes
        .get("/v1/sales", list::list)
        .post(Role::Admin, "/v1/seed", seed::seed_all)
        .get("/v1/sales/{sale}", show::show)
        .post(
            Role::Operator,
            "/v1/sales/{sale}/schedule",
            schedule::change,
        )
        .get("/v1/sales/{sale}/ledger", ledger::show)
        .post(
            Role::Admin,
            "/v1/sales/{sale}/products/{product}/recall",
            recall::recall,
        )
        .get(
            "/v1/sales/{sale}/products/{product}/serials",
            serials::level,
        )
        .post(
            Role::Admin,
            "/v1/sales/{sale}/products/{product}/serials",
            serials::fill,
        )
}

/// The sale and the product that a path names.
struct ProductPath {
    sale: String,
    product: String,
}

impl<S: Send + Sync> FromRequestParts<S> for ProductPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<(String, String)>::from_request_parts(parts, state).await {
            Ok(Path((sale, product))) => Ok(Self { sale, product }),
            Err(_) => Err(Problem::parameter("path", "must be percent-encoded UTF-8")),
        }
    }
}

/// The sale of this name, as the database has it now.
async fn sale(services: &Services, name: &str) -> Result<Arc<Sale>, Problem> {
    let not_found = || Problem::not_found("sale", name);
    let id = SaleId::parse(name).map_err(|_| not_found())?;
    services
        .catalogue
        .sale_now(&id)
        .await?
        .ok_or_else(not_found)
}

/// The product of this name in the sale.
fn product<'a>(sale: &'a Sale, name: &str) -> Result<&'a Product, Problem> {
    let id = ProductId::parse(name).ok();
    id.and_then(|id| sale.product(&id))
        .ok_or_else(|| Problem::not_found("product", name))
}
