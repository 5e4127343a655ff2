//! The ceiling: an echo service of the same stack, called in the same way.

use anyhow::Context as _;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use self::wire::{EchoRequest, EchoResponse, echo_client::EchoClient, echo_server};
use crate::{
    LoadArgs,
    load::{self, Report},
    process,
};

#[allow(clippy::all, unreachable_pub, missing_docs, reason = "generated; the .proto file documents it")]
mod wire {
    tonic::include_proto!("colloquy.loadtest");
}

/// Bytes of a turn's request on the wire, as `turns` sends them.
const REQUEST_BYTES: usize = 64;
/// Bytes of a turn's response on the wire, as the order desk answers them.
pub(crate) const RESPONSE_BYTES: u32 = 290;

struct Echo;

#[tonic::async_trait]
impl echo_server::Echo for Echo {
    async fn call(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        Ok(Response::new(EchoResponse { payload: vec![0x5a; request.get_ref().answer_bytes as usize] }))
    }
}

/// Serves echoes until killed.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", serde_json::json!({ "event": "listening", "grpc": listener.local_addr()?.to_string() }));
    Server::builder()
        .add_service(echo_server::EchoServer::new(Echo))
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
        .await
        .context("the echo server failed")
}

/// Measures it.
pub(crate) async fn run(args: &LoadArgs) -> anyhow::Result<Report> {
    let server = process::start(&["echo-server".to_owned()]).await?;
    let clients: Vec<_> =
        process::channels(&server.address, args.channels).await?.into_iter().map(EchoClient::new).collect();
    load::run("echo", args, |number| {
        let client = clients.get(number % clients.len()).cloned();
        move || {
            let client = client.clone();
            async move {
                let mut client = client.context("there is a client")?;
                let request = EchoRequest { payload: vec![0xa5; REQUEST_BYTES], answer_bytes: RESPONSE_BYTES };
                let mut request = Request::new(request);
                request.set_timeout(std::time::Duration::from_secs(10));
                let answer = client.call(request).await?.into_inner();
                anyhow::ensure!(answer.payload.len() == RESPONSE_BYTES as usize, "the echo is of another size");
                Ok(())
            }
        }
    })
    .await
}
