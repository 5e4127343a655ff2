//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use colloquy_client::{Client, Key, Turn, v1};

use crate::{
    Exit, calls, chat, demo,
    erase::{self, EraseArgs},
    export::{self, ExportArgs},
    flow_calls::{self, FlowCall},
    flow_deletions, flow_diff, flow_graph, flow_guard, flow_schema, flow_test,
    lint::{self, LintArgs},
    models_check::{self, CheckArgs},
    operate::{self, Operate},
    output::{self, Colour, Output},
    replay::{self, ReplayArgs},
    serve,
    settings::{Fault, Settings, Sources},
    steering::{self, Steering},
    store::{self, StoreCommand},
};

/// A runtime for conversations: each one a supervised actor, each turn durable before it is answered.
///
/// Start with `colloquy demo`, which needs nothing else. Then `colloquy serve` in one terminal and
/// `colloquy chat` in another.
///
/// Exit codes: 0 well; 1 what was asked about is not as it should be; 2 usage or settings; 3 no server
/// answers; 4 the server refused; 5 the store failed.
#[derive(Debug, Parser)]
#[command(name = "colloquy", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// Address of the server, for commands that call one.
    #[arg(long, global = true, env = "COLLOQUY_ADDR", default_value = "127.0.0.1:7420", value_name = "HOST:PORT")]
    addr: String,
    /// Tenant, for commands that call a server.
    #[arg(long, global = true, env = "COLLOQUY_TENANT", default_value = "demo")]
    tenant: String,
    /// How long a call may take, in milliseconds.
    #[arg(long, global = true, default_value_t = 10_000, value_name = "MS")]
    timeout_ms: u64,
    /// Print JSON, one value a line.
    #[arg(long, global = true)]
    json: bool,
    /// When to use colour.
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto)]
    color: Colour,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays the example conversations against a server of its own, and checks every reply.
    Demo,
    /// Runs a server until SIGTERM or SIGINT; a second signal ends it at once.
    ///
    /// Example: colloquy serve --data-dir /var/lib/colloquy --flows ./flows
    Serve(ServeArgs),
    /// Holds a conversation with a server, line by line. `/help` lists what else it takes.
    ///
    /// Example: colloquy chat c-17 --flow order-desk
    Chat(ChatArgs),
    /// Sends one turn and prints the reply.
    ///
    /// Example: colloquy send c-17 "where is order AB-1234?" --flow order-desk
    Send(SendArgs),
    /// Prints the committed turns of a conversation.
    Turns(TurnsArgs),
    /// Prints each turn of a conversation as it is committed, until interrupted.
    Watch(WatchArgs),
    /// Clears a conversation's state; its history stays.
    Reset(ResetArgs),
    #[command(flatten)]
    Steer(Steering),
    /// Erases a conversation, or all of a tenant's, for good; see docs/erasure.md.
    ///
    /// Goes on when one cannot be erased, and then ends with 1; what is left can be erased by the same command again.
    ///
    /// Example: colloquy erase c-17 --yes --receipts erased.jsonl --compact
    Erase(EraseArgs),
    /// Writes a conversation, or all of a tenant's, to files that hold everything a replay needs.
    ///
    /// Example: colloquy export c-17 --out c-17.jsonl
    Export(ExportArgs),
    /// Decides exported conversations again, without a server, and shows what comes out otherwise.
    ///
    /// Example: colloquy replay exports --against flows/order-desk
    Replay(ReplayArgs),
    /// Prints figures of the server and its first live conversations.
    Status(StatusArgs),
    #[command(flatten)]
    Operate(Operate),
    /// Works on flows.
    #[command(subcommand)]
    Flow(FlowCommand),
    /// Works on models, sources and tools.
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Looks after a store's folder: checks it, measures it, backs it up and brings it back.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Prints completions for a shell.
    ///
    /// Example: colloquy completions bash > /etc/bash_completion.d/colloquy
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Flags of `serve`; each wins over environment and file.
#[derive(Debug, Args)]
struct ServeArgs {
    /// Settings file (TOML).
    #[arg(long, env = "COLLOQUY_CONFIG")]
    config: Option<PathBuf>,
    /// Address of the gRPC gateway; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT")]
    grpc_listen: Option<String>,
    /// Address of /health, /ready and /metrics; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT")]
    http_listen: Option<String>,
    /// Folder of the store.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Engine of the store: journal, memory or sled.
    #[arg(long)]
    engine: Option<String>,
    /// Folder of flows beside the built-in examples; may be given more than once.
    #[arg(long, value_name = "DIR")]
    flows: Vec<String>,
    /// human or json.
    #[arg(long)]
    log_format: Option<String>,
    /// Which log lines, for example `info`.
    #[arg(long)]
    log_filter: Option<String>,
    /// Prints every setting with its meaning, default and environment variable, and ends.
    #[arg(long)]
    help_settings: bool,
    /// Prints every setting as it would hold, with where it comes from, as a settings file, and ends.
    #[arg(long)]
    print_settings: bool,
}

impl ServeArgs {
    fn sources(&self) -> Result<Sources, Vec<Fault>> {
        let mut sources = Sources::gather(self.config.as_deref()).map_err(|fault| vec![fault])?;
        let flows = if self.flows.is_empty() { None } else { Some(self.flows.join(",")) };
        let flags = [
            ("listen.grpc", "--grpc-listen", self.grpc_listen.clone()),
            ("listen.http", "--http-listen", self.http_listen.clone()),
            ("store.data_dir", "--data-dir", self.data_dir.clone()),
            ("store.engine", "--engine", self.engine.clone()),
            ("flows.folders", "--flows", flows),
            ("log.format", "--log-format", self.log_format.clone()),
            ("log.filter", "--log-filter", self.log_filter.clone()),
        ];
        sources.flags.extend(flags.into_iter().filter_map(|(name, flag, value)| Some((name, flag, value?))));
        Ok(sources)
    }
}

#[derive(Debug, Args)]
struct ChatArgs {
    /// The conversation; a fresh one when not given.
    conversation: Option<String>,
    /// The flow of a new conversation.
    #[arg(long, default_value = "order-desk")]
    flow: String,
}

#[derive(Debug, Args)]
struct SendArgs {
    /// The conversation.
    conversation: String,
    /// What to say; with --json-input, a JSON object that names an intent, slots or an action.
    text: String,
    /// Send structured input instead of text.
    #[arg(long)]
    json_input: bool,
    /// The flow of a new conversation.
    #[arg(long, default_value = "")]
    flow: String,
    /// Whom a new conversation is about, so that `erase --subject` finds it.
    #[arg(long, default_value = "")]
    subject: String,
    /// The idempotency key; a fresh one when not given.
    #[arg(long)]
    request_id: Option<String>,
    /// The turn that must be the last one.
    #[arg(long)]
    expected_seq: Option<u64>,
    /// What to do when another turn runs; when not given, what the flow says.
    #[arg(long, value_enum)]
    busy: Option<Busy>,
    /// Show acceptance and stages as they happen.
    #[arg(long)]
    stream: bool,
}

/// What to do when another turn runs.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Busy {
    /// Wait for it.
    Enqueue,
    /// Be refused.
    Reject,
    /// End it now; what was shown of it stays.
    Interrupt,
    /// Drop it as if it had never been sent.
    Replace,
    /// Be left out.
    Drop,
}

impl Busy {
    const fn wire(self) -> v1::BusyPolicy {
        match self {
            Self::Enqueue => v1::BusyPolicy::Enqueue,
            Self::Reject => v1::BusyPolicy::Reject,
            Self::Interrupt => v1::BusyPolicy::Interrupt,
            Self::Replace => v1::BusyPolicy::Replace,
            Self::Drop => v1::BusyPolicy::Drop,
        }
    }
}

#[derive(Debug, Args)]
struct TurnsArgs {
    /// The conversation.
    conversation: String,
    /// The first turn wanted.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// At most so many.
    #[arg(long, default_value_t = 1000)]
    limit: usize,
}

#[derive(Debug, Args)]
struct WatchArgs {
    /// The conversation.
    conversation: String,
    /// The first turn wanted.
    #[arg(long, default_value_t = 1)]
    from: u64,
}

#[derive(Debug, Args)]
struct ResetArgs {
    /// The conversation.
    conversation: String,
    /// Why, for the log.
    #[arg(long, default_value = "")]
    reason: String,
    /// The idempotency key; a fresh one when not given.
    #[arg(long)]
    request_id: Option<String>,
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// How many conversations to print, 1 to 1000.
    #[arg(long, default_value_t = 20)]
    actors: u32,
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// Asks each model and looks at each source of the settings once, and tells what is wrong and what to do.
    ///
    /// A model is asked for a small answer twice; a server of tools lists them, and nothing is called. Ends with 0 when
    /// all is well, 1 when something is wrong, 2 when the settings are. Each check ends after `--timeout-ms`.
    ///
    /// Example: colloquy models check --config colloquy.toml
    Check(CheckArgs),
}

#[derive(Debug, Subcommand)]
enum FlowCommand {
    /// Checks the flows in folders and prints every fault with file, line, column and fix.
    ///
    /// Ends with 0 when there is none, 1 when there are, 2 when it was called wrongly. Warnings count only with
    /// `--deny warnings`.
    ///
    /// Example: colloquy flow lint ./flows/order-desk --deny warnings
    Lint(LintArgs),
    /// Draws what leads where in a flow, and tells which states lead nowhere.
    ///
    /// Example: colloquy flow graph ./flows/order-desk --out order-desk.svg
    Graph(flow_graph::GraphArgs),
    /// Tells what differs between two revisions, transitions and budgets first; exit code 1 when anything does.
    ///
    /// Example: colloquy flow diff ./released/order-desk ./flows/order-desk
    Diff {
        /// The folder or file of the earlier revision.
        was: PathBuf,
        /// The folder or file of the later revision.
        is: PathBuf,
    },
    /// Prints the JSON Schema of flow files, for editors.
    ///
    /// Example: colloquy flow schema --out flow.schema.json
    Schema {
        /// The schema of scenarios.yaml instead.
        #[arg(long)]
        scenarios: bool,
        /// The file to write to, instead of standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    #[command(flatten)]
    Call(FlowCall),
    /// Plays the scenarios of flows, and prints what came out otherwise than promised.
    ///
    /// Example: colloquy flow test ./flows/order-desk --filter refund
    Test(flow_test::TestArgs),
    /// Deletes each row of a flow, one at a time, and tells which deletions neither lint nor a scenario notices.
    ///
    /// Example: colloquy flow deletions ./flows/order-desk --min 95
    Deletions(flow_deletions::DeletionsArgs),
    /// Tells how well a guard tells attempts to steer the model from what customers write, on labelled texts.
    ///
    /// Example: colloquy flow guard ./flows/order-desk --min-precision 95 --min-recall 85
    Guard(flow_guard::GuardArgs),
}

impl Cli {
    /// Does what was asked.
    pub(crate) async fn dispatch(self) -> Exit {
        let Self { global, command } = self;
        let output = Output::new(global.json, global.color);
        match command {
            Command::Demo => demo::run(output).await,
            Command::Serve(args) => serve_command(&args, output).await,
            Command::Flow(FlowCommand::Test(args)) => flow_test::run(&args, output),
            Command::Flow(FlowCommand::Deletions(args)) => flow_deletions::run(&args, output),
            Command::Flow(FlowCommand::Lint(args)) => lint::run(&args, output),
            Command::Flow(FlowCommand::Guard(args)) => flow_guard::run(&args, output),
            Command::Replay(args) => replay::run(args, output).await,
            Command::Flow(FlowCommand::Graph(args)) => flow_graph::run(&args, output),
            Command::Flow(FlowCommand::Diff { was, is }) => flow_diff::run(&was, &is, output),
            Command::Flow(FlowCommand::Schema { scenarios, out }) => flow_schema::run(scenarios, out.as_deref()),
            Command::Models(ModelsCommand::Check(args)) => {
                let patience = Duration::from_millis(global.timeout_ms);
                models_check::run(&args, patience, output).await.unwrap_or_else(|faults| faulty(&faults))
            }
            Command::Store(command) => store::run(command, output).await,
            Command::Completions { shell } => {
                clap_complete::generate(shell, &mut Self::command(), "colloquy", &mut std::io::stdout());
                Exit::Ok
            }
            command => match Client::connect(&global.addr, Duration::from_millis(global.timeout_ms)).await {
                Ok(client) => call(client, &global.tenant, command, output).await,
                Err(error) => output::unreachable(&error),
            },
        }
    }
}

async fn call(client: Client, tenant: &str, command: Command, output: Output) -> Exit {
    let key = |conversation: String| Key::new(tenant, conversation);
    let ended = match command {
        Command::Flow(FlowCommand::Call(call)) => return flow_calls::run(&client, tenant, call, output).await,
        Command::Chat(args) => {
            let conversation = args.conversation.unwrap_or_else(|| calls::fresh_id("chat"));
            return chat::run(&client, key(conversation), &args.flow, output).await;
        }
        Command::Send(args) => {
            let request_id = args.request_id.unwrap_or_else(|| calls::fresh_id("send"));
            let new = if args.json_input { Turn::structured } else { Turn::new };
            let mut turn = new(key(args.conversation), request_id, args.flow, args.text);
            turn.expected_seq = args.expected_seq;
            turn.subject = args.subject;
            turn.busy = args.busy.map_or(v1::BusyPolicy::Unspecified, Busy::wire);
            if args.stream {
                calls::stream(&client, &turn, output).await
            } else {
                calls::send(&client, &turn, output).await
            }
        }
        Command::Turns(args) => calls::turns(&client, &key(args.conversation), args.from, args.limit, output).await,
        Command::Watch(args) => calls::watch(&client, &key(args.conversation), args.from, output).await,
        Command::Reset(args) => {
            let request_id = args.request_id.unwrap_or_else(|| calls::fresh_id("reset"));
            calls::reset(&client, &key(args.conversation), &request_id, &args.reason, output).await
        }
        Command::Steer(what) => {
            let ended = steering::run(&client, tenant, what, output).await;
            return ended.unwrap_or_else(|refusal| output::refused(&refusal));
        }
        Command::Operate(what) => return operate::run(&client, tenant, what, output).await,
        Command::Erase(args) => return erase::run(&client, tenant, args, output).await,
        Command::Export(args) => return export::run(&client, tenant, args, output).await,
        Command::Status(args) => calls::status(&client, args.actors, output).await,
        Command::Demo
        | Command::Serve(_)
        | Command::Replay(_)
        | Command::Flow(_)
        | Command::Models(_)
        | Command::Store(_)
        | Command::Completions { .. } => Ok(()),
    };
    ended.map_or_else(|refusal| output::refused(&refusal), |()| Exit::Ok)
}

async fn serve_command(args: &ServeArgs, output: Output) -> Exit {
    if args.help_settings {
        output::line(&Settings::describe_all());
        return Exit::Ok;
    }
    if args.print_settings {
        return match args.sources().and_then(|sources| Settings::print_all(&sources)) {
            Ok(text) => {
                output::line(text.trim_end());
                Exit::Ok
            }
            Err(faults) => faulty(&faults),
        };
    }
    match args.sources().and_then(|sources| Settings::read(&sources)) {
        Ok(settings) => serve::run(settings, output).await,
        Err(faults) => faulty(&faults),
    }
}

fn faulty(faults: &[Fault]) -> Exit {
    for fault in faults {
        output::error(&fault.to_string());
    }
    Exit::Usage
}
