"""The pages of the dashboard: one visible list, in the order in which their addresses are tried."""

from __future__ import annotations

from fastapi import APIRouter

from service.dashboard import searches_pages, session, static_files

ROUTERS: tuple[APIRouter, ...] = (static_files.router, session.router, searches_pages.router)
