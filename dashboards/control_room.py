"""Control room: what happens now."""

from __future__ import annotations

from dashboards.frame import Board
from dashboards.kinds import number
from dashboards.queries import Sql
from dashboards.variables import OPERATOR, PROVINCE, THEIRS
from dashboards.words import Language, Words


def dashboard(language: Language) -> Board:
    board = Board(
        "control-room",
        Words("Phòng điều hành", "Control room"),
        Words("Xe đang ở đâu và đang có chuyện gì.", "Where the vehicles are, and what is happening."),
        language,
        variables=(PROVINCE, OPERATOR),
        refresh="10s",
    )
    board.add(
        number(),
        Sql(f"SELECT count(*) AS vehicles FROM panels.positions WHERE state IN ('driving', 'over_limit') AND {THEIRS}"),
        title=Words("Xe đang chạy", "Vehicles on the road"),
        about=Words(
            "Số xe đang chạy theo bản tin mới nhất, nhận được trong 10 phút vừa qua.",
            "Vehicles that drive, by their newest message, which is at most 10 minutes old.",
        ),
        unit="short",
        width=4,
        height=4,
    )
    return board
