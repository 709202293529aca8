//! How the evasion tests ask through `wasi:http`.

use super::{
    super::evasion_tests::Guest,
    Resource,
    outgoing_handler::Host as _,
    types::{HostFields, HostFutureIncomingResponse, HostOutgoingRequest, Scheme},
};

/// A GET of a URL that is taken apart as carelessly as a guest could do it.
pub async fn get(guest: &mut Guest, url: &str, path: Option<&str>) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (authority, own) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let fields = HostFields::new(&mut guest.view()).unwrap();
    let request = HostOutgoingRequest::new(&mut guest.view(), fields).unwrap();
    let borrowed = || Resource::new_borrow(request.rep());
    // What is refused is left out, and the rest is sent all the same.
    let _ = guest.view().set_scheme(borrowed(), Some(scheme)).unwrap();
    let _ = guest
        .view()
        .set_authority(borrowed(), Some(authority.to_owned()))
        .unwrap();
    let path = path.unwrap_or(own).to_owned();
    let _ = guest.view().set_path_with_query(borrowed(), Some(path)).unwrap();
    if let Ok(answer) = guest.view().handle(request, None) {
        guest.ready(&answer).await;
        let _ = HostFutureIncomingResponse::get(&mut guest.view(), answer).unwrap();
    }
}
