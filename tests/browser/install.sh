#!/bin/sh
# `make browser`: what the browser tests need that pip does not bring. Says nothing and takes no time where all is there.
set -eu
cd "$(dirname "$0")"

missing=
command -v chromium >/dev/null || missing="$missing chromium"
command -v node >/dev/null && command -v npm >/dev/null || missing="$missing nodejs npm"
for tool in openssl curl; do command -v $tool >/dev/null || missing="$missing $tool"; done
fonts=$(fc-list : family 2>/dev/null || true)
case $fonts in *"Noto Sans CJK SC"*) ;; *) missing="$missing fonts-noto-cjk" ;; esac
case $fonts in *"Noto Color Emoji"*) ;; *) missing="$missing fonts-noto-color-emoji" ;; esac

if [ -n "$missing" ]; then
  install="apt-get install -y --no-install-recommends$missing"
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "浏览器测试还缺少 / the browser tests still need: sudo sh -c 'apt-get update && $install'" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  $install -qq >/dev/null
fi

if ! cmp -s package-lock.json node_modules/.installed; then
  npm ci --ignore-scripts --silent
  cp package-lock.json node_modules/.installed
fi
