"""The pages of the dashboard: one visible list, in the order in which their addresses are tried."""

from __future__ import annotations

from fastapi import APIRouter

from service.dashboard import (
    architecture_page,
    compare_page,
    search_page,
    searches_pages,
    session,
    static_files,
    studies_page,
    study_page,
    submit_page,
)

ROUTERS: tuple[APIRouter, ...] = (
    static_files.router,
    session.router,
    searches_pages.router,  # before the page of one search: `/searches/rows` is no id
    studies_page.router,
    search_page.router,
    submit_page.router,
    study_page.router,
    compare_page.router,
    architecture_page.router,
)
