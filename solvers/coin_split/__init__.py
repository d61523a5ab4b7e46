"""Gifted coins: which part creators keep, of a video's own coins or over the whole platform; and
judges of what came out.
"""

from solvers.coin_split.certificate import CoinCertificate, certify_coin_split
from solvers.coin_split.gap_chain import GapChain
from solvers.coin_split.platform import PlatformSplit, split_platform
from solvers.coin_split.platform_certificate import PlatformCertificate, certify_platform_split
from solvers.coin_split.video import VideoSplits, split_videos

__all__ = [
    "CoinCertificate",
    "GapChain",
    "PlatformCertificate",
    "PlatformSplit",
    "VideoSplits",
    "certify_coin_split",
    "certify_platform_split",
    "split_platform",
    "split_videos",
]
