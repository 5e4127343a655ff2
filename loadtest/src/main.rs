//! The load generator, and the ceilings its figures are held against.
//!
//! `turns` drives a server with a durable store in a process of its own; `ceiling grpc` drives an echo
//! service of the same stack in the same way. Only the ratio of alternating runs means something: both
//! share the machine with their server.

mod burst;
mod chaos;
mod cores;
mod crash;
mod echo;
mod late;
mod load;
mod memory;
mod overload;
mod process;
#[cfg(feature = "simulation")]
mod simulate;
mod turns;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures a server under load, as ratios of what its stack can do.
///
/// Example: colloquy-loadtest turns --concurrency 64 --conversations 10000 --duration 10 --json
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sends turns in a closed loop, checks every reply.
    Turns(turns::TurnsArgs),
    /// Measures what the stack could reach at best.
    #[command(subcommand)]
    Ceiling(Ceiling),
    /// Runs `turns` and `ceiling grpc` in turn and prints the ratio of each pair, and their median.
    Ratio {
        #[command(flatten)]
        turns: turns::TurnsArgs,
        /// How many pairs.
        #[arg(long, default_value_t = 3)]
        pairs: usize,
    },
    /// Has turns wait for a source that is ten seconds late: each must take what its call may take, within 50 ms,
    /// and the server's memory must not grow.
    Late(late::LateArgs),
    /// Offers a multiple of what the server can do, from one thread: what it does must not fall much, what it does not
    /// must be refused soon and with a hint, and all must be well again soon after. Ends with 1 when it is not so.
    ///
    /// Example: colloquy-loadtest overload --times 3 --duration 60
    Overload(overload::OverloadArgs),
    /// Has very many callers come at the same moment: resets, then turns. Ends with 1 when they take too long.
    ///
    /// Example: colloquy-loadtest burst --resets 100 --turns 1000
    Burst(burst::BurstArgs),
    /// Looks at the memory of a server with very many conversations, or very many turns: it must stay at its mark. Ends
    /// with 1 when it does not.
    ///
    /// Example: colloquy-loadtest memory touch --conversations 1000000 --active-max 50000
    #[command(subcommand)]
    Memory(memory::Memory),
    /// Has very many callers talk while actors are killed every few milliseconds, and the process now and then: what was
    /// acknowledged must be there once, nobody may wait past a deadline, and only who was hit may be told so. Ends with 1
    /// when it is not so.
    ///
    /// Example: colloquy-loadtest chaos --callers 1000 --conversations 10000 --duration 60
    Chaos(chaos::ChaosArgs),
    /// Kills a server under load, again and again: what its callers were told must be there, once and unchanged.
    /// Then plays crash points of the journal on a simulated disk. Ends with 1 when a promise was not kept.
    ///
    /// Example: colloquy-loadtest crash --kills 500 --points 2000
    Crash(crash::CrashArgs),
    /// Plays seeds of the runtime's simulation: its actors, turns and store in virtual time, with every fault there
    /// is. Ends with 1 when an invariant does not hold, and tells the seed.
    ///
    /// Example: colloquy-loadtest simulate --seeds 10000
    #[cfg(feature = "simulation")]
    Simulate(simulate::SimulateArgs),
    /// The server of `turns`; started by it.
    #[command(hide = true, disable_help_flag = true)]
    Server {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The server of `ceiling grpc`; started by it.
    #[command(hide = true)]
    EchoServer,
}

#[derive(Subcommand)]
enum Ceiling {
    /// Calls of equal size to an echo service: same stack, same channels, a process of its own.
    Grpc(LoadArgs),
}

/// How load is made; the same for everything that is compared.
#[derive(Args, Clone)]
pub(crate) struct LoadArgs {
    /// Calls in flight.
    #[arg(long, default_value_t = 64)]
    pub(crate) concurrency: usize,
    /// Connections that share them.
    #[arg(long, default_value_t = 4)]
    pub(crate) channels: usize,
    /// Seconds to measure.
    #[arg(long, default_value_t = 10)]
    pub(crate) duration: u64,
    /// Seconds before measuring.
    #[arg(long, default_value_t = 2)]
    pub(crate) warm_up: u64,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Server { arguments } = cli.command {
        return colloquy::run(std::iter::once("colloquy".to_owned()).chain(arguments));
    }
    #[cfg(feature = "simulation")]
    if let Command::Simulate(args) = &cli.command {
        return match simulate::run(args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    // Who is overloaded must be the server: the generator has one thread, and a core for it.
    let mut builder = match cli.command {
        Command::Overload(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the async runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(dispatch(cli.command)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    let errors = match command {
        Command::Turns(args) => {
            let report = turns::run(&args).await?;
            report.print(args.load.json);
            report.errors
        }
        Command::Ceiling(Ceiling::Grpc(args)) => {
            let report = echo::run(&args).await?;
            report.print(args.json);
            report.errors
        }
        Command::Late(args) => {
            let report = late::run(&args).await?;
            report.print(args.json);
            u64::from(!report.is_well())
        }
        Command::Overload(args) => {
            let report = overload::run(&args).await?;
            report.print(args.json);
            u64::from(!report.is_well())
        }
        Command::Burst(args) => {
            let report = burst::run(&args).await?;
            report.print(args.json);
            u64::from(!report.is_well())
        }
        Command::Memory(args) => {
            let report = memory::run(&args).await?;
            report.print(args.json());
            u64::from(!report.is_well())
        }
        Command::Chaos(args) => {
            chaos::run(&args).await?;
            0
        }
        Command::Crash(args) => {
            crash::run(&args).await?;
            0
        }
        Command::Ratio { turns: args, pairs } => ratio(&args, pairs).await?,
        Command::EchoServer => {
            echo::serve().await?;
            0
        }
        // Ended before there was a runtime.
        Command::Server { .. } => 0,
        #[cfg(feature = "simulation")]
        Command::Simulate(_) => 0,
    };
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn ratio(args: &turns::TurnsArgs, pairs: usize) -> anyhow::Result<u64> {
    let (mut ratios, mut errors) = (Vec::new(), 0);
    for _ in 0..pairs.max(1) {
        let ceiling = echo::run(&args.load).await?;
        let turns = turns::run(args).await?;
        ceiling.print(args.load.json);
        turns.print(args.load.json);
        ratios.push(turns.per_s / ceiling.per_s);
        errors += ceiling.errors + turns.errors;
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
    if args.load.json {
        println!("{}", serde_json::json!({ "ratios": ratios, "median": median }));
    } else {
        let shown: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.3}")).collect();
        println!("ratios {}; median {median:.3}", shown.join(" "));
    }
    Ok(errors)
}
