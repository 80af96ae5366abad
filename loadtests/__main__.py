"""`python -m loadtests run PROFILE` (`make load`) and `python -m loadtests seed`.

Locust patches the standard library of its process, so it runs in a child process.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from keys.client import SignerClient
from loadtests.load import system, targets, thresholds
from loadtests.load.catalogue import PROFILES, Profile, find
from loadtests.load.report import LOCUST, PAGE
from loadtests.load.seeding import Plan, Seeding
from loadtests.load.terminal import refused, step
from zpcode.embedded.servers import Servers
from zpcode.errors import Refused, Text, ZpError
from zpcode.projection import client, projector
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.settings import AuthoritySettings, load
from zpcode.store.database.session import connect

app = typer.Typer(add_completion=False, no_args_is_help=True, help="压力测试 / load tests")
TOP = Path(__file__).resolve().parents[1]
_NAMES = "、".join(f"{one.name} {one.zh}" for one in PROFILES.values())


@app.command()
def run(  # noqa: PLR0913 - one parameter for each option
    profile: Annotated[str, typer.Argument(help=_NAMES)] = "ordinary",
    *,
    seconds: Annotated[float, typer.Option(min=2, help="持续秒数 / how long")] = 60,
    rate: Annotated[float, typer.Option(help="满载时每秒扫码；0 为按场景 / scans a second; 0: the profile's own")] = 0,
    host: Annotated[str, typer.Option(help="目标；默认自启一套 / the target; default: a demo on this machine")] = "",
    api: Annotated[str, typer.Option(help="目标的业务接口 / the target's API")] = "",
    sample: Annotated[Path | None, typer.Option(help="目标的样本 / the target's sample")] = None,
    confirmed: Annotated[
        bool, typer.Option(targets.CONFIRM, help="目标不是本机也要测 / confirm that another machine is loaded")
    ] = False,
    readyz: Annotated[
        str,
        typer.Option(help="目标扫码进程内部端口的 /readyz / /readyz on the private port of the target's scan process"),
    ] = "",
    home: Annotated[Path, typer.Option(help="自启系统的目录 / folder of the demo")] = Path("build/load/home"),
    products: Annotated[int, typer.Option(help="自启系统的产品数 / products of the demo")] = 500,
    codes: Annotated[int, typer.Option(help="自启系统的码数 / codes of the demo")] = 50_000,
    out: Annotated[Path | None, typer.Option(help="报告目录 / folder of the report")] = None,
    thresholds_file: Annotated[
        Path, typer.Option("--thresholds", help="阈值文件 / file of thresholds")
    ] = thresholds.DEFAULT,
    port: Annotated[
        int, typer.Option(help="自启系统的端口 / port of the demo; its API has the port before it")
    ] = system.SCAN_PORT,
) -> None:
    """跑一个场景。Run a profile. Exit status 0 passed, 1 a threshold missed, 2 refused or not measurable."""
    chosen = find(profile)
    if chosen is None:
        raise typer.BadParameter(_NAMES, param_hint="PROFILE")
    thresholds.read(thresholds_file, chosen.name)  # before anything is started
    with ExitStack() as stack:
        if host:
            target = _remote(host, api, sample, readyz, confirmed=confirmed)
        else:
            plan = Plan(products, codes, sampled=min(codes, 200_000), set_aside=min(codes // 10, 5000))
            target = stack.enter_context(system.running(home, plan, port, port - 1))
        folder = (out or Path("build") / "load" / chosen.name).absolute()
        options = ["--sample", target.sample, "--api", target.api, "--seconds", seconds, "--out", folder,
                   "--scans-per-second", rate or chosen.rate, "--thresholds", thresholds_file.absolute()]  # fmt: skip
        options += ["--readyz", target.readyz] if target.readyz else []
        status = _locust(chosen, target.scan, folder, [str(one) for one in options], confirmed=confirmed)
    raise typer.Exit(status)


def _remote(host: str, api: str, sample: Path | None, readyz: str, *, confirmed: bool) -> system.System:
    """A named target. Raises Refused unless it is this machine or was confirmed."""
    text = targets.refusal([one for one in (host, api, readyz) if one], confirmed=confirmed)
    if text is not None:
        raise Refused(text)
    if sample is None:
        raise Refused(Text("请用 --sample 指明目标的样本目录", "name the folder of the target's sample with --sample"))
    return system.System(host, api, sample.absolute(), readyz)


def _locust(profile: Profile, host: str, folder: Path, options: list[str], *, confirmed: bool) -> int:
    step(f"开始：{profile.zh}", f"starting: {profile.en}")
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "locust", "-f", str(TOP / "loadtests" / "profiles" / f"{profile.name}.py"),
               "--headless", "--only-summary", "--loglevel", "WARNING", "--host", host,
               "--html", str(folder / LOCUST), *options, *([targets.CONFIRM] if confirmed else [])]  # fmt: skip
    status = subprocess.run(command, cwd=TOP, check=False).returncode  # noqa: S603 - our own command
    words = {0: ("通过", "passed"), 1: ("未通过", "missed")}.get(status, ("无法判定", "not measurable"))
    step(f"{words[0]}，报告 {folder / PAGE}", f"{words[1]}; the report is {folder / PAGE}")
    return status


@app.command()
def seed(
    sample: Annotated[Path, typer.Option(help="样本目录 / folder for the sample")],
    *,
    products: Annotated[int, typer.Option(help="产品数 / products")] = 10_000,
    codes: Annotated[int, typer.Option(help="码数 / codes")] = 1_000_000,
    sampled: Annotated[int, typer.Option(help="样本中的码数 / codes in the sample")] = 200_000,
    threads: Annotated[int, typer.Option(min=1, max=64, help="同时签发的批次 / batches at a time")] = 4,
    confirmed: Annotated[
        bool, typer.Option("--yes-seed-that-database", help="写入指定的库 / confirm that this database is written to")
    ] = False,
) -> None:
    """备数：虚构的登记册、真实签发的批次、样本。Seed the system that the settings (ZPCODE_…) name, or the demo on HOME."""
    settings = load()
    if settings.database_url and not confirmed:
        raise Refused(
            Text(
                "将把虚构的企业、产品和码写入 ZPCODE_DATABASE_URL 指定的数据库。确实要写入，请加 --yes-seed-that-database",
                "this writes made-up enterprises, products and codes into the database of ZPCODE_DATABASE_URL. "
                "To do so, add --yes-seed-that-database",
            )
        )
    _seed(settings, sample.absolute(), Plan(products, codes, sampled=min(codes, sampled)), threads)


def _seed(settings: AuthoritySettings, sample: Path, plan: Plan, threads: int) -> None:
    with ExitStack() as stack:
        demo = Servers(settings.home).addresses
        engine = connect(settings.database_url or demo.database, pool_size=2 * threads + 2)
        stack.callback(engine.dispose)
        signer = stack.enter_context(SignerClient(settings.signer_socket))
        exports = CodeFolder(settings.export_dir, settings.file_key)
        Seeding(engine, signer, exports, settings.public_base, plan, step, threads).run(sample)
        redis = client.connect(settings.redis_url or demo.redis)
        stack.callback(redis.close)
        projector.catch_up(engine, redis)


def main() -> None:
    """Run a command. An error is printed in both languages, with exit status 2."""
    try:
        app()
    except ZpError as error:
        refused(error.text)
        for finding in error.findings:
            refused(finding.text)
        sys.exit(2)


if __name__ == "__main__":
    main()
